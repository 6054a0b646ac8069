from collections.abc import Sequence
from typing import Literal, TypeAlias, final

_Bytes: TypeAlias = bytes | bytearray | memoryview  # or an mmap, or anything else with a contiguous buffer of bytes

@final
class Batch:
    """Flows and kept packets, as lines of JSON.  ``len`` is the number of flows."""

    @property
    def flows(self) -> bytes:
        """One flow a line; docs/flows.md says what the fields mean."""

    @property
    def raw_packets(self) -> bytes:
        """One kept packet a line: UUID of its flow, Timestamp (ms), Index (from 1), Data (base64), LinkType."""

    @property
    def more(self) -> bool:
        """A tick that was told how much to do at most has not come to its end."""

    def __len__(self) -> int: ...

@final
class Chosen:
    """Flows that a query has chosen, in its order."""

    def __len__(self) -> int: ...

@final
class Table:
    """A flow table.

    All methods may be called from any thread: calls wait for each other, without holding the interpreter's lock.
    Times of packets are nanoseconds, those of ticks milliseconds, since the epoch; whoever calls says what time it is.
    A call that fails inside (which is a bug) breaks the table: later calls raise RuntimeError.
    """

    def __new__(
        cls,
        *,
        node_tid: str = "",
        capture_id: str = "",
        layer_key_mode: str = "L2",
        max_flows: int = 500_000,
        raw_packet_limit: int = 0,
        header_size: int = 0,
        sampling: int = 1,
        tcp_times: bool = False,
        reassemble_tcp: bool = False,
        defragment_bytes: int = 0,
        extra_layers: int = 0,
        mpls_ports: Sequence[int] = (6635,),
        vxlan_ports: Sequence[int] = (4789, 8472),
        tcp_names: Sequence[tuple[int, str]] = (),
        udp_names: Sequence[tuple[int, str]] = (),
        timeouts: Sequence[tuple[str, int]] = (),
    ) -> Table:
        """An empty table.

        node_tid, capture_id: where packets are seen; part of each flow's UUID.
        layer_key_mode: "L2", MAC addresses tell flows apart; "L3", only network addresses where there are any.
        max_flows: beyond, those that were quiet longest leave early (stats: evicted; lost when too many left).
        raw_packet_limit: so many packets of each flow are kept as they are.
        header_size: bytes of a packet that are looked at and kept; 0: all that was captured.
        sampling: one packet in so many is counted; counters are not scaled.
        tcp_times: TCPMetric with times and TTLs of SYN, FIN and RST.
        reassemble_tcp: TCPMetric with what became of segments (order, gaps, retransmissions).
        defragment_bytes: fragments of IP packets are put together, and at most so many bytes of them held; 0: they
        are not.
        extra_layers: sum of VRRP 1, DNS 2, DHCPv4 4, DHCPv6 8, TLS 16, HTTP 32; 255 is all.
        mpls_ports, vxlan_ports: UDP ports that carry MPLS and VXLAN.
        tcp_names, udp_names: names of applications by port.
        timeouts: after so many quiet seconds a flow of an application ends at the next update.

        Raises ValueError for a wrong layer_key_mode, max_flows or sampling.
        """

    def packet(self, frame: _Bytes, *, time_ns: int, wire_length: int | None = None, link_type: int = 1) -> None:
        """Count one packet.  ``link_type`` is a LINKTYPE_ number; ValueError if it is not understood."""

    def packets(self, frames: Sequence[tuple[int, int, bytes]], *, link_type: int = 1) -> None:
        """Count several packets, each (time in ns, length on the wire, frame); as ``packet``, at one go."""

    def block(self, block: _Bytes, *, link_type: int = 1) -> int:
        """Count the packets of one block of a TPACKET_V3 ring; returns their number.

        VLAN tags that the kernel took out count as if they were in place.  Raises ValueError for a block that
        contradicts itself; packets before the contradiction were counted.
        """

    def pcap(self, piece: _Bytes, *, until_ns: int = ...) -> int:
        """Count the packets in the next piece of a pcap or pcapng stream; returns the newest time seen, in ns.

        Before the first packet at or after ``until_ns`` it stops, and returns that packet's time: it and what follows
        wait for the next call, maybe with an empty piece.
        Raises ValueError, saying at which byte, when the stream is damaged; packets before it were counted.
        """

    def pcap_end(self) -> None:
        """The stream has ended.  Raises ValueError when it ended within a packet, or held no header."""

    def record(self, lines: bytes, *, operation: Literal["update", "replace"] = "update") -> int:
        """Take finished counters of another source, one flow a line in the JSON form; returns how many.

        Needed are Metric, Start, Last and one of Link and Network.  "update": the counters came since the last
        record; "replace": they hold all since Start.  Raises ValueError, with the line, when one is wrong; then none
        is taken.
        """

    def update(self, now_ms: int, *, most: int | None = None) -> Batch:
        """The update tick: flows that changed since the last one, and those that ended by it.

        With ``most``, so many flows are looked at in one call, and packets wait for that long only; while the batch
        says ``more``, call it again.
        """

    def expire(self, now_ms: int, *, most: int | None = None) -> Batch:
        """The expire tick: flows that have been quiet since the tick before it end; ``most`` as in ``update``."""

    def flush(self, now_ms: int) -> Batch:
        """End all flows; the table is empty after it."""

    def flows(
        self,
        *,
        filter: bytes | None = None,
        sort_by: str | None = None,
        descending: bool = False,
        dedup_by: str | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> Batch:
        """Live flows as they stand; nothing changes by it.

        ``filter`` is the JSON form of a filter (docs/native.md); ``sort_by`` a key as ``Metric.ABBytes``: numbers,
        then texts, then others, without the key last, equal ones by UUID.  Of those with the same value under
        ``dedup_by`` the first stays.  Raises ValueError for a wrong filter.
        """

    def choose(
        self,
        *,
        filter: bytes | None = None,
        sort_by: str | None = None,
        descending: bool = False,
        dedup_by: str | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> Chosen:
        """The same flows, to be read in pieces between which packets are counted: 16 bytes each."""

    def chosen(self, chosen: Chosen, begin: int, end: int) -> Batch:
        """Those from a place up to another, as they stand now; the ones that have left meanwhile are left out."""

    def stats(self) -> dict[str, int]:
        """Counters since the table was made; docs/native.md says what they mean."""

    def __len__(self) -> int: ...

@final
class CaptureFile:
    """A pcap or pcapng stream, in pieces of any size, taken apart into its packets."""

    def __new__(cls) -> CaptureFile: ...
    def feed(self, piece: bytes) -> list[tuple[int, int, int, bytes]]:
        """The packets that this piece completes: (time in ns, length on the wire, LINKTYPE_ number, frame).

        The number is one that stands for all of its kind (101 for every kind of bare IP).  Raises ValueError, saying
        at which byte, when the stream is damaged; packets before the fault are given first, and the next call raises.
        """

    def end(self) -> None:
        """The stream has ended.  Raises ValueError when it was damaged, ended within a packet, or held no header."""
