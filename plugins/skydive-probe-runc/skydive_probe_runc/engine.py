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
    engine = engine_of(state)
    left = _of_crio(state.annotations) if engine == "cri-o" else _of_cri(engine, state.annotations)
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


def _of_cri(engine: str, notes: Mapping[str, str]) -> Left:
    """What containerd's CRI plugin notes."""
    pod = {
        "Name": notes.get(f"{_CRI}sandbox-name"),
        "Namespace": notes.get(f"{_CRI}sandbox-namespace"),
        "UID": notes.get(f"{_CRI}sandbox-uid"),
        "SandboxID": notes.get(f"{_CRI}sandbox-id"),
        "Kind": notes.get(f"{_CRI}container-type"),
    }
    return Left(
        engine=engine,
        name=notes.get(f"{_CRI}container-name", ""),
        image=notes.get(f"{_CRI}image-name", ""),
        pod={name: value for name, value in pod.items() if value},
    )


def _of_crio(notes: Mapping[str, str]) -> Left:
    # k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT, without CONTAINER for a sandbox; Kubernetes allows "_" in none of them.
    # It is all that tells a container's pod: only sandboxes have KubeName and Namespace.
    full_name = notes.get(f"{_CRIO}Name", "")
    parts = full_name.rsplit("_", 4)[1:4] if full_name.count("_") >= 4 else []
    kind = notes.get(f"{_CRIO}ContainerType")
    pod = {
        **dict(zip(("Name", "Namespace", "UID"), parts, strict=False)),
        "SandboxID": notes.get(f"{_CRIO}SandboxID"),
        "Kind": kind,
    }
    return Left(
        engine="cri-o",
        # Of a sandbox, Metadata is its pod's.
        name="" if kind == "sandbox" else _texts(_object(notes.get(f"{_CRIO}Metadata", ""))).get("name") or full_name,
        image=notes.get(f"{_CRIO}ImageName") or notes.get(f"{_CRIO}Image", ""),
        image_id=notes.get(f"{_CRIO}ImageRef", ""),
        pod={name: value for name, value in pod.items() if value},
        labels=_texts(_object(notes.get(f"{_CRIO}Labels", ""))),
    )


def _with_stored(left: Left, stored: Mapping[str, Any]) -> Left:
    names = stored.get("names")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    details = _texts(_object(text(stored, "metadata")))
    return attrs.evolve(
        left,
        name=left.name or text({"name": name}, "name"),
        image=left.image or details.get("image-name", ""),
        image_id=left.image_id or text(stored, "image"),
    )


def find_stored(document: Any, id: str) -> Mapping[str, Any] | None:
    """The entry of a container in ``containers.json``; BadState when that is no such list."""
    if not isinstance(document, list):
        raise BadState(f"containers.json is no list but {type(document).__name__}")
    return next((entry for entry in document if isinstance(entry, dict) and entry.get("id") == id), None)


def _object(value: str) -> Mapping[str, Any]:
    """A JSON object that was written into a text; empty when it is none."""
    try:
        found = json.loads(value or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _texts(found: Mapping[str, Any]) -> dict[str, str]:
    return {text({"": name}, ""): text({"": value}, "") for name, value in found.items() if isinstance(value, str)}
