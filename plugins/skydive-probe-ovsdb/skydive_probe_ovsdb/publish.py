"""What the probe says to the graph: nodes and edges of rows, under the keys that fit by now."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

import attrs

from skycore.plugin import ClaimError, Key, ProbeHost
from skydive_probe_ovsdb.model import TUNNELS, WITHOUT_DEVICE, Model
from skydive_probe_ovsdb.places import Places
from skydive_probe_ovsdb.rows import Ref
from skydive_probe_ovsdb.statistics import Sampler

SCOPE: Final = "database"
_KINDS: Final = {"Bridge": "ovsbridge", "Port": "ovsport", "Interface": "ovsinterface"}


@attrs.frozen
class Edge:
    """``type`` is the edge's own ``Type``, "" for none."""

    parent: Key
    child: Key
    relation: str
    type: str = ""


@attrs.frozen
class Said:
    """What was said of one row: its node (``owning``: we made it), and the edges that belong to it."""

    key: Key
    owning: bool
    metadata: dict[str, Any]
    edges: frozenset[Edge]


class Publisher:
    """Keeps the graph equal to the model."""

    def __init__(self, host: ProbeHost, places: Places) -> None:
        self._host = host
        self._graph = host.graph
        self._places = places
        self._sampler = Sampler()
        self._model: Model | None = None
        self._said: dict[Ref, Said] = {}
        self._holders: dict[Key, Ref] = {}
        self.refused: dict[Ref, str] = {}

    def say_all(self, model: Model) -> None:
        """These rows are all there are."""
        self._model = model
        present = {
            (table, uuid)
            for table in ("Bridge", "Port", "Interface", "Open_vSwitch")
            for uuid in model.rows.tables[table]
        }
        for ref in self._said.keys() - present:
            self._forget(ref)
        self._said.clear()
        self._holders.clear()
        self.refused.clear()
        with self._graph.snapshot(SCOPE):
            said = {ref: self._wanted(model, ref) for ref in present}
            for ref, one in said.items():
                self._put(ref, one)
            for one in said.values():
                self._link(one.edges)
        self._said = said

    def say(self, refs: Iterable[Ref]) -> None:
        """Bring what the graph holds of these rows to what they are now, in one transaction."""
        model = self._model
        if model is None:
            return
        wanted = {ref: self._wanted(model, ref) if model.rows.get(*ref) is not None else None for ref in refs}
        changed = {ref: one for ref, one in wanted.items() if one != self._said.get(ref)}
        if not changed:
            return
        with self._graph.transaction():
            for ref, one in changed.items():
                self._take_back(ref, one)
            for ref, one in changed.items():
                if one is not None:
                    self._put(ref, one)
            for ref, one in changed.items():
                if one is not None:
                    before = self._said.get(ref)
                    self._link(one.edges if before is None or before.key != one.key else one.edges - before.edges)
        for ref, one in changed.items():
            if one is None:
                self._said.pop(ref, None)
                self._forget(ref)
            else:
                self._said[ref] = one

    def misplaced(self, *, thorough: bool) -> set[Ref]:
        """Rows whose device has come or gone since they were said.

        Those without a device are looked at each time; the others, and the ways of tunnels, when ``thorough``.
        """
        model = self._model
        found: set[Ref] = set()
        if model is None:
            return found
        for uuid, row in model.rows.tables["Interface"].items():
            said = self._said.get(("Interface", uuid))
            if said is None or row.get("type") in WITHOUT_DEVICE:
                if said is not None and thorough and row.get("type") in TUNNELS:
                    found.add(("Interface", uuid))
            elif said.owning or thorough:
                key = self._places.find(uuid, row)
                if (key is None) != said.owning or (key is not None and key != said.key):
                    found.add(("Interface", uuid))
        for uuid in model.rows.tables["Open_vSwitch"]:
            said = self._said.get(("Open_vSwitch", uuid))
            if said is not None and said.key != self._places.datapath():
                found.add(("Open_vSwitch", uuid))
        return found

    def counts(self) -> dict[str, int]:
        """Nodes by kind, for the status."""
        tables = self._model.rows.tables if self._model else {}
        return {
            name: len(tables.get(table, ()))
            for name, table in (("bridges", "Bridge"), ("ports", "Port"), ("interfaces", "Interface"))
        }

    # ------------------------------------------------------------------ one row

    def _wanted(self, model: Model, ref: Ref) -> Said:
        table, uuid = ref
        metadata = model.metadata(ref)
        if table == "Open_vSwitch":
            return Said(self._places.datapath(), False, metadata, frozenset())
        edges: set[Edge] = set()
        key, owning = Key(_KINDS[table], uuid), True
        if table == "Bridge":
            edges.add(Edge(self._host.root, key, "ownership"))
        elif table == "Interface":
            row = model.rows.tables[table][uuid]
            device = self._places.find(uuid, row)
            if device is not None:
                key, owning = device, False
            else:
                # What the kernel says of a device of the type "system" (the default) is not there.
                metadata.setdefault("Type", "system")
                if (bridge := model.bridge_of(uuid)) is not None:
                    edges.add(Edge(self._key(bridge), key, "ownership"))
            metrics = self._sampler.update(uuid, row.get("statistics"), time.time_ns() // 1_000_000)
            if metrics:
                metadata.setdefault("Ovs", {}).update(metrics)
            if row.get("type") in TUNNELS:
                egress, way = self._places.way(row)
                if way:
                    metadata["Tunnel"] = way
                if egress is not None:
                    edges.add(Edge(egress, key, "layer2", str(row["type"])))
        for link in model.links(ref):
            parent, child = (key if end == ref else self._key(end) for end in (link.parent, link.child))
            edges.add(Edge(parent, child, link.relation, link.type))
        return Said(key, owning, metadata, frozenset(edges))

    def _key(self, ref: Ref) -> Key:
        # Only interfaces have keys that change, and those that edges name have no device: patches.
        return Key(_KINDS[ref[0]], ref[1])

    def _take_back(self, ref: Ref, now: Said | None) -> None:
        before = self._said.get(ref)
        if before is None:
            return
        moved = now is None or now.key != before.key
        for edge in before.edges if moved or now is None else before.edges - now.edges:
            self._graph.unlink(edge.parent, edge.child, edge.relation)
        if moved and self._holders.get(before.key) == ref:
            del self._holders[before.key]
            self._graph.drop(before.key)

    def _put(self, ref: Ref, one: Said) -> None:
        say = self._graph.put if one.owning else self._graph.annotate
        self._holders[one.key] = ref
        try:
            say(one.key, one.metadata, scope=SCOPE)
            self.refused.pop(ref, None)
        except ClaimError as error:
            # What cannot be shown whole is shown by its name.
            short: dict[str, Any] = {
                key: str(one.metadata[key])[:1024] for key in ("Name", "Type", "UUID") if key in one.metadata
            }
            say(one.key, short, scope=SCOPE)
            self.refused[ref] = f"{short.get('Name', ref[0])}: {error}"

    def _link(self, edges: Iterable[Edge]) -> None:
        for edge in edges:
            metadata = {"Type": edge.type} if edge.type else None
            self._graph.link(edge.parent, edge.child, edge.relation, metadata, scope=SCOPE)

    def _forget(self, ref: Ref) -> None:
        self.refused.pop(ref, None)
        self._sampler.forget(ref[1])
        self._places.forget(ref[1])
