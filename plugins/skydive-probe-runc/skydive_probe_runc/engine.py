"""What the engine above the runtime left beside a container: its name, image, pod; no input or output here.

Sources of the annotations: containerd's CRI plugin (pkg/cri/annotations/annotations.go), CRI-O
(pkg/annotations, internal/annotations), podman (libpod/define/annotations.go).  ``containers.json`` is the list of
containers/storage (store/containers.go), ``create-config`` that of podman before version 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from skydive_probe_runc.state import BadState, State, section, text

_CRI: Final = "io.kubernetes.cri."
_CRIO: Final = "io.kubernetes.cri-o."


@attrs.frozen
class Left:
    """``engine`` is "" where a runtime is used by itself; texts are empty, and ``pod`` too, when nothing tells them."""

    engine: str = ""
    name: str = ""
    image: str = ""
    image_id: str = ""
    pod: Mapping[str, Any] = attrs.field(factory=dict)
    labels: Mapping[str, str] = attrs.field(factory=dict)


def engine_of(state: State) -> str:
    """Which engine keeps this container."""
    notes = state.annotations
    if notes.get("io.container.manager") == "cri-o" or f"{_CRIO}ContainerID" in notes:
        return "cri-o"
    if notes.get("io.container.manager") == "libpod" or any(name.startswith("io.podman.") for name in notes):
        return "podman"
    if "/io.containerd.runtime." in state.bundle:
        return "docker" if "/moby/" in state.bundle else "containerd"
    return ""


def read_left(state: State, stored: Mapping[str, Any] | None, created: Mapping[str, Any] | None) -> Left:
    """Put together what is known: annotations, the entry of ``containers.json``, and ``create-config``."""
    notes = state.annotations
    engine = engine_of(state)
    prefix = _CRIO if engine == "cri-o" else _CRI
    pod = {
        "Name": notes.get(f"{_CRIO}KubeName" if engine == "cri-o" else f"{_CRI}sandbox-name", ""),
        "Namespace": notes.get(f"{_CRIO}Namespace" if engine == "cri-o" else f"{_CRI}sandbox-namespace", ""),
        "UID": notes.get(f"{_CRI}sandbox-uid", "") or notes.get("io.kubernetes.pod.uid", ""),
        "SandboxID": notes.get(f"{_CRIO}SandboxID") or notes.get(f"{_CRI}sandbox-id", ""),
        "Kind": notes.get(f"{prefix}ContainerType") or notes.get(f"{prefix}container-type", ""),
    }
    left = Left(
        engine=engine,
        name=notes.get(f"{_CRIO}Name") or notes.get(f"{_CRI}container-name", ""),
        image=notes.get(f"{_CRIO}ImageName") or notes.get(f"{_CRIO}Image") or notes.get(f"{_CRI}image-name", ""),
        image_id=notes.get(f"{_CRIO}ImageRef", ""),
        pod={name: value for name, value in pod.items() if value},
        labels=_crio_labels(notes.get(f"{_CRIO}Labels", "")),
    )
    if stored is not None:
        left = _with_stored(left, stored)
    if created is not None:
        left = attrs.evolve(
            left,
            image=text(created, "Image") or left.image,
            image_id=text(created, "ImageID") or left.image_id,
            labels={**left.labels, **_texts(section(created, "Labels"))},
        )
    return left


def _with_stored(left: Left, stored: Mapping[str, Any]) -> Left:
    names = stored.get("names")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    try:
        details = json.loads(text(stored, "metadata") or "{}")
    except (ValueError, RecursionError):
        details = {}
    if not isinstance(details, dict):
        details = {}
    return attrs.evolve(
        left,
        name=left.name or text({"name": name}, "name"),
        image=left.image or text(details, "image-name"),
        image_id=left.image_id or text(stored, "image"),
    )


def find_stored(document: Any, id: str) -> Mapping[str, Any] | None:
    """The entry of a container in ``containers.json``; BadState when that is no such list."""
    if not isinstance(document, list):
        raise BadState(f"containers.json is no list but {type(document).__name__}")
    return next((entry for entry in document if isinstance(entry, dict) and entry.get("id") == id), None)


def _crio_labels(value: str) -> dict[str, str]:
    """CRI-O writes all labels as one JSON object into an annotation."""
    try:
        found = json.loads(value or "{}")
    except (ValueError, RecursionError):
        return {}
    return _texts(found) if isinstance(found, dict) else {}


def _texts(found: Mapping[str, Any]) -> dict[str, str]:
    return {text({"": name}, ""): text({"": value}, "") for name, value in found.items() if isinstance(value, str)}
