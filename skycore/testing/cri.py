"""Kubernetes' Container Runtime Interface, as a kubelet speaks it: pods and containers of a daemon in a fake host.

A call is one request of HTTP/2, which curl sends (gRPC over HTTP2, github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md), with a
message of few fields (cri-api, pkg/apis/runtime/v1/api.proto; protobuf.dev, "Encoding").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import trio

from skycore.testing.lab import LabError, run_checked

_VARINT: Final = 0
_BYTES: Final = 2
_OWN_NETWORK: Final = 0  # NamespaceMode: POD, NODE
_HOST_NETWORK: Final = 2
_ID: Final = re.compile(r"[0-9a-f]{64}")

Message = Mapping[int, "int | str | Message | Sequence[Message] | Sequence[str]"]
"""A protobuf message: number of a field → its value, or its values where it is repeated."""


def encoded(message: Message) -> bytes:
    """A message as bytes; numbers are not negative."""
    return b"".join(_field(number, one) for number, value in message.items() for one in _values(value))


def _values(value: Any) -> Iterable[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def _field(number: int, value: int | str | Message) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    content = value.encode() if isinstance(value, str) else encoded(value)
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def _map(entries: Mapping[str, str] | None) -> list[Message]:
    return [{1: key, 2: value} for key, value in (entries or {}).items()]


class Cri:
    """The runtime service behind ``socket`` (as seen from here); cgroups of pods lie below ``cgroup``.

    ``version`` is that of the interface: daemons from 2022 on speak ``v1``, older ones ``v1alpha2``.
    """

    def __init__(self, socket: str, cgroup: str, image: str, version: str = "v1") -> None:
        self._socket = socket
        self._service = f"http://localhost/runtime.{version}.RuntimeService"
        self._cgroup = cgroup
        self._image = image
        self._pods: dict[str, Message] = {}

    def _call(self, method: str, message: Message) -> str:
        """One call; all text of the answer.  LabError when it fails."""
        content = encoded(message)
        answer = run_checked(
            [
                "curl", "--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket", self._socket,
                "--header", "content-type: application/grpc", "--header", "te: trailers", "--dump-header", "-",
                "--data-binary", "@-", f"{self._service}/{method}",
            ],
            data=b"\0" + len(content).to_bytes(4, "big") + content,
        )  # fmt: skip
        # The trailers follow the answer's bytes without a new line.
        if "grpc-status: 0\r\n" not in answer:
            raise LabError(f"{method} failed: {answer}")
        return answer

    def _made(self, method: str, message: Message) -> str:
        """The ID that is all of an answer."""
        answer = self._call(method, message)
        found = _ID.search(answer)
        if found is None:
            raise LabError(f"{method} gives no ID: {answer!r}")
        return found[0]

    def version(self) -> str:
        """What the daemon says of itself; LabError while it does not answer."""
        return self._call("Version", {})

    def run_pod(
        self,
        name: str,
        namespace: str = "default",
        *,
        uid: str = "",
        host_network: bool = False,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> str:
        """Run the sandbox of a pod, and return its ID."""
        network = _HOST_NETWORK if host_network else _OWN_NETWORK
        pod: Message = {
            1: {1: name, 2: uid or f"uid-of-{name}", 3: namespace},
            # A pod in the host's network has the host's name; to set another is an error.
            2: "" if host_network else name,
            6: _map(labels),
            7: _map(annotations),
            8: {1: f"/{self._cgroup}", 2: {1: {1: network}}},
        }
        id = self._made("RunPodSandbox", {1: pod})
        self._pods[id] = pod
        return id

    def run(self, pod: str, name: str, *command: str, labels: Mapping[str, str] | None = None, attempt: int = 0) -> str:
        """Run a container in a pod, and return its ID."""
        container: Message = {1: {1: name, 2: attempt}, 2: {1: self._image}, 3: command, 9: _map(labels)}
        id = self._made("CreateContainer", {1: pod, 2: container, 3: self._pods[pod]})
        self._call("StartContainer", {1: id})
        return id

    def remove(self, container: str) -> None:
        """End a container at once, and remove it."""
        self._call("StopContainer", {1: container})
        self._call("RemoveContainer", {1: container})

    def remove_pod(self, pod: str) -> None:
        """End a pod with its containers, and remove it."""
        self._call("StopPodSandbox", {1: pod})
        self._call("RemovePodSandbox", {1: pod})
        del self._pods[pod]

    async def aremove_pod(self, pod: str) -> None:
        """``remove_pod``, in a worker thread."""
        await trio.to_thread.run_sync(self.remove_pod, pod)

    def remove_all(self) -> None:
        """Remove all pods."""
        for pod in list(self._pods):
            self.remove_pod(pod)
