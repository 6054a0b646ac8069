"""A host whose kernel never rests: changes at a rate, none of which says what another has said."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from skycore.testing.lab import FakeHost, environment_here

PAIRS: Final = 24


class World:
    """Changes in a host's kernel, ``rate`` a second: addresses of many interfaces, and now and then an interface."""

    def __init__(self, host: FakeHost, rate: int) -> None:
        command = ["nsenter", f"--net={host.netns_path}", "--", "ip", "-force", "-batch", "-"]
        # Deleting a veth waits for the kernel; the addresses do not wait with it.
        self._addresses, self._links = (
            subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment_here())
            for _ in range(2)
        )
        self._host = host
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        lines = [f"link add v{number} type veth peer name w{number}" for number in range(PAIRS)]
        assert self._links.stdin is not None
        self._links.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self._links.stdin.flush()
        names = {f"{side}{number}" for number in range(PAIRS) for side in "vw"}
        while not names <= set(host.run("ip", "-br", "link").replace("@", " ").split()):
            time.sleep(0.02)
        self._thread.start()

    def _run(self) -> None:
        devices = [f"{side}{number}" for number in range(PAIRS) for side in "vw"]
        held: dict[str, deque[str]] = {device: deque() for device in devices}
        steps = self._step(devices, held)
        assert self._addresses.stdin is not None
        assert self._links.stdin is not None
        begin, done = time.monotonic(), 0
        for turn in itertools.count():
            if self._stop.wait(0.01):
                return
            due = int((time.monotonic() - begin) * self._rate) - done
            done += due
            self._addresses.stdin.write("".join(itertools.islice(steps, due)).encode())
            self._addresses.stdin.flush()
            if turn % 20 == 0:
                line = f"link add t{turn} type veth peer name u{turn}\n"
                if turn >= 60:
                    line += f"link del t{turn - 60}\n"
                self._links.stdin.write(line.encode())
                self._links.stdin.flush()

    def _step(self, devices: list[str], held: dict[str, deque[str]]) -> Iterator[str]:
        """No address comes twice, so no two revisions of an interface say the same."""
        number = 0
        for device in itertools.cycle(devices):
            mine = held[device]
            if len(mine) == 3:
                yield f"address del {mine.popleft()} dev {device}\n"
            else:
                number += 1
                mine.append(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32")
                yield f"address add {mine[-1]} dev {device}\n"

    def stop(self) -> None:
        """No more changes, and those that were asked for are made.  Idempotent."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        for process in (self._addresses, self._links):
            _, complaints = process.communicate(timeout=20)
            assert not complaints, complaints.decode()[:500]

    def clear(self) -> None:
        """Stop, and remove what was made."""
        self.stop()
        names = self._host.run("ip", "-br", "link").replace("@", " ").split()
        made = [name for name in names if name[0] in "vt" and name[1:].isdecimal()]
        self._host.run("ip", "-batch", "-", data="".join(f"link del {name}\n" for name in dict.fromkeys(made)).encode())
