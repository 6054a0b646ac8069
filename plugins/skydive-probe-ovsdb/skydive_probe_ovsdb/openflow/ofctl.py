"""The rules and groups of a bridge, asked and followed through the program ovs-ofctl."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final
from uuid import NAMESPACE_OID, uuid5

import attrs
import trio
import trio.lowlevel

from skydive_probe_ovsdb.address import Address, Certificates
from skydive_probe_ovsdb.errors import BadAnswer, SourceLost
from skydive_probe_ovsdb.openflow import text
from skydive_probe_ovsdb.openflow.ledger import Ledger, name_of

PROGRAM: Final = "ovs-ofctl"
ANSWER_SECONDS = 30.0
POLL_SECONDS = 10.0
"""Groups, which no monitor announces here, are asked for after so long, and so is what an event may have missed."""
FIRST_POLL_SECONDS: Final = 1.0
"""The first time it is sooner, as nothing says when the monitor has begun."""
CALM_SECONDS: Final = 0.01
"""Events are gathered for so long."""
_FEW: Final = 8
"""For so many events their own tables and matches are asked for, for more all rules."""
_BATCH: Final = 400
"""So many rules are read or said at one go before the others on the event loop have their turn."""
_LONGEST_LINE: Final = 4 << 20


@attrs.frozen
class _Event:
    table: int
    filter: str


class OfctlBridge:
    """Keeps two ledgers equal to a bridge; what it knows outlives the program."""

    def __init__(
        self, address: Address, certificates: Certificates, versions: Sequence[str], rules: Ledger, groups: Ledger
    ) -> None:
        self._target = f"unix:{address.path}" if address.path else str(address).replace("//", "")
        self._options = ["--timeout=30", "-O", ",".join(versions)]
        if address.tls:
            for option, path in (
                ("private-key", certificates.key),
                ("certificate", certificates.cert),
                ("ca-cert", certificates.ca),
            ):
                if path:
                    self._options.append(f"--{option}={path}")
        self._rules = rules
        self._groups = groups
        self._lines: dict[str, str] = {}
        """What names a rule → its line without clocks."""
        self._alike: dict[_Event, set[str]] = {}
        """Table and match → the rules that have them: those that differ by priority only."""
        self._grouped = ""
        self._pending: dict[_Event, None] = {}
        self._wake = trio.Event()

    async def follow(self, report: Callable[[str], None]) -> None:
        """Until the program ends or the bridge is lost (SourceLost); ``report`` is told how it is going."""
        options = [option for option in self._options if not option.startswith("--timeout")]
        async with (
            _running([PROGRAM, *options, "--unixctl=none", "monitor", self._target, "watch:!initial"]) as process,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._listen, process)
            next_all, period = trio.current_time(), FIRST_POLL_SECONDS
            while True:
                if trio.current_time() >= next_all:
                    self._pending.clear()
                    await self._ask_all()
                    await self._ask_groups()
                    next_all, period = trio.current_time() + period, POLL_SECONDS
                elif len(self._pending) > _FEW:
                    self._pending.clear()
                    await self._ask_all()
                else:
                    events, self._pending = list(self._pending), {}
                    for event in events:
                        await self._ask_about(event)
                report(f"ovs-ofctl: {len(self._rules)} rules, {len(self._groups)} groups")
                if not self._pending:
                    self._wake = trio.Event()
                    with trio.move_on_at(next_all):
                        await self._wake.wait()
                    await trio.sleep(CALM_SECONDS)

    async def _listen(self, process: trio.Process) -> None:
        # What a monitor is told goes to stderr, and so do complaints.
        assert process.stderr is not None
        buffer, complaint = bytearray(), b""
        async for data in process.stderr:
            buffer += data
            *lines, rest = buffer.split(b"\n")
            buffer = bytearray(rest)
            if len(buffer) > _LONGEST_LINE:
                raise BadAnswer(f"{PROGRAM} printed a line of more than {_LONGEST_LINE} bytes")
            for line in lines:
                if line.startswith(b" event="):
                    found = text.rule(line.decode(errors="replace"))
                    self._pending[_Event(found.table, found.filter)] = None
                    self._wake.set()
                elif not line.startswith(b"OFPST_FLOW_MONITOR") and not line.startswith(b"NXST_FLOW_MONITOR"):
                    complaint = bytes(line)
        raise SourceLost(f"{PROGRAM} monitor ended: {complaint.decode(errors='replace')[:200]}")

    async def _ask_all(self) -> None:
        lines = await self._ask("dump-flows")
        named: dict[str, str] = {}
        fresh: dict[str, text.TextRule] = {}
        known = {line: name for name, line in self._lines.items()}
        for line in lines:
            name = known.get(line)
            if name is None:
                rule = text.rule(line)
                name = self._name(rule)
                fresh[name] = rule
                if not len(fresh) % _BATCH:
                    await trio.lowlevel.checkpoint()
            named[name] = line
        gone = self._lines.keys() - named.keys()
        await self._say(fresh, named)
        self._forget(gone)

    async def _ask_about(self, event: _Event) -> None:
        wanted = ",".join(filter(None, (f"table={event.table}", event.filter)))
        found: dict[str, str] = {}
        fresh: dict[str, text.TextRule] = {}
        # The answer holds also those whose matches are narrower.
        for line in await self._ask("dump-flows", wanted):
            rule = text.rule(line)
            if (rule.table, rule.filter) == (event.table, event.filter):
                name = self._name(rule)
                found[name] = line
                if self._lines.get(name) != line:
                    fresh[name] = rule
        gone = self._alike.get(event, set()) - found.keys()
        await self._say(fresh, found)
        self._forget(gone)

    async def _say(self, fresh: dict[str, text.TextRule], lines: dict[str, str]) -> None:
        names = list(fresh)
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            self._rules.put({name: {**fresh[name].metadata, "UUID": self._uuid(name)} for name in batch})
            await trio.lowlevel.checkpoint()
        for name, rule in fresh.items():
            self._lines[name] = lines[name]
            self._alike.setdefault(_Event(rule.table, rule.filter), set()).add(name)

    def _forget(self, names: set[str]) -> None:
        gone = set(names)
        if not gone:
            return
        self._rules.drop(gone)
        for name in gone:
            rule = text.rule(self._lines.pop(name))
            event = _Event(rule.table, rule.filter)
            members = self._alike[event]
            members.discard(name)
            if not members:
                del self._alike[event]

    async def _ask_groups(self) -> None:
        try:
            lines = await self._ask("dump-groups", versions="OpenFlow15,OpenFlow14,OpenFlow13,OpenFlow12,OpenFlow11")
        except SourceLost:
            # OpenFlow 1.0 has no groups, and a bridge may be told to speak nothing else.
            lines = []
        printed = "\n".join(lines)
        if printed != self._grouped:
            groups = dict(text.group(line) for line in lines)
            await self._groups.replace(
                {str(id): {**group, "UUID": self._uuid(str(id))} for id, group in groups.items()}
            )
            self._grouped = printed

    def _name(self, rule: text.TextRule) -> str:
        return name_of(rule.table, rule.priority, rule.filter)

    def _uuid(self, name: str) -> str:
        return str(uuid5(NAMESPACE_OID, f"{self._target}-{name}"))

    async def _ask(self, command: str, *arguments: str, versions: str = "") -> list[str]:
        """The lines that begin with a space, without their clocks."""
        options = [*self._options[:1], "-O", versions, *self._options[3:]] if versions else self._options
        try:
            with trio.fail_after(ANSWER_SECONDS):
                done = await trio.run_process(
                    [PROGRAM, *options, command, self._target, *arguments],
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                )
        except trio.TooSlowError as error:
            raise SourceLost(f"{PROGRAM} {command} did not end within {ANSWER_SECONDS:g} s") from error
        except OSError as error:
            raise SourceLost(
                f"cannot run {PROGRAM}: {error.strerror or error}; Debian's openvswitch-common brings it"
            ) from error
        if done.returncode:
            raise SourceLost(f"{PROGRAM} {command}: {done.stderr.decode(errors='replace').strip()[:200]}")
        return [text.steady(line) for line in done.stdout.decode(errors="replace").splitlines() if line.startswith(" ")]


@asynccontextmanager
async def _running(command: Sequence[str]) -> AsyncIterator[trio.Process]:
    """The program, killed at the end of the block."""
    start = partial(
        trio.lowlevel.open_process, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        process = await start(list(command))
    except OSError as error:
        raise SourceLost(
            f"cannot run {PROGRAM}: {error.strerror or error}; Debian's openvswitch-common brings it"
        ) from error
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        if process.stderr is not None:
            await trio.aclose_forcefully(process.stderr)
