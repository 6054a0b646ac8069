//! One flow: who talks, since when, how much.

use crate::application::{Found, Kept};
use crate::defrag::Pieces;
use crate::identity::{Ids, Key};
use crate::layer::{Layer, Path};
use crate::section::{tcp_flag, IcmpKind, Ip, Section, Transport};
use crate::stream::Stream;

/// Why a flow ended (Skydive's FlowFinishType).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Finish {
    #[default]
    NotFinished = 0,
    Timeout = 1,
    TcpFin = 2,
    TcpRst = 3,
}

/// Counters of both directions; bytes are those of the frames on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    pub ab_packets: u64,
    pub ab_bytes: u64,
    pub ba_packets: u64,
    pub ba_bytes: u64,
}

impl Counters {
    /// What was added since `before`; nothing where a source has begun to count anew.
    pub fn since(self, before: Self) -> Self {
        Self {
            ab_packets: self.ab_packets.saturating_sub(before.ab_packets),
            ab_bytes: self.ab_bytes.saturating_sub(before.ab_bytes),
            ba_packets: self.ba_packets.saturating_sub(before.ba_packets),
            ba_bytes: self.ba_bytes.saturating_sub(before.ba_bytes),
        }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            ab_packets: self.ab_packets.saturating_add(other.ab_packets),
            ab_bytes: self.ab_bytes.saturating_add(other.ab_bytes),
            ba_packets: self.ba_packets.saturating_add(other.ba_packets),
            ba_bytes: self.ba_bytes.saturating_add(other.ba_bytes),
        }
    }
}

/// Times of connection set-up and end by direction, in ms since the epoch (0: not seen), and TTLs of the SYNs.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpTimes {
    pub syn: [u64; 2],
    pub syn_ttl: [u8; 2],
    pub fin: [u64; 2],
    pub rst: [u64; 2],
}

impl TcpTimes {
    /// What is known already, else what the other says.
    pub fn or(&self, other: Self) -> Self {
        fn first<T: Default + PartialEq + Copy>(a: [T; 2], b: [T; 2]) -> [T; 2] {
            [0, 1].map(|side| if a[side] == T::default() { b[side] } else { a[side] })
        }
        Self {
            syn: first(self.syn, other.syn),
            syn_ttl: first(self.syn_ttl, other.syn_ttl),
            fin: first(self.fin, other.fin),
            rst: first(self.rst, other.rst),
        }
    }
}

/// The first bytes of a packet, kept as they were.
#[derive(Clone, Debug)]
pub struct RawPacket {
    pub time_ms: u64,
    /// Counts from 1 within the flow.
    pub index: u32,
    pub data: Box<[u8]>,
    pub link_type: u32,
}

/// What only some flows have; kept apart so that the others stay small.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    pub tcp: Option<Box<TcpTimes>>,
    /// From A to B, from B to A.
    pub streams: Option<Box<[Stream; 2]>>,
    pub pieces: Pieces,
    pub kept: Option<Box<Kept>>,
    pub raw: Vec<RawPacket>,
    pub raw_count: u32,
}

/// One flow of a table.
// The order is that of use: what every packet touches comes first, so that it lies in few cache lines.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Flow {
    pub key: Key,
    pub counters: Counters,
    pub last_ns: u64,
    /// When a SYN or an echo request was seen that waits for its answer; 0 for none.
    asked_ns: u64,
    /// The first packet's source is the second end of the key.
    pub swapped: bool,
    pub touched: bool,
    pub recent: bool,
    asked_by_a: bool,
    fins: u8,
    pub finish: Finish,
    pub application: u16,
    pub rtt_ns: u64,
    pub ids: Ids,
    pub extra: Option<Box<Extra>>,
    pub start_ns: u64,
    pub path: Path,
    /// Counters at the last update tick, and what the update before it found.
    pub before: Counters,
    pub update: Counters,
    pub update_start_ms: u64,
    pub update_last_ms: u64,
    /// MAC addresses of the first packet: its source, its destination.
    first_macs: [[u8; 6]; 2],
    pub icmp: Icmp,
    /// Source port of the first packet: the key of a UDP tunnel does not hold it.
    pub first_source_port: u16,
}

/// The first message of a flow of ICMP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Icmp {
    pub kind: IcmpKind,
    /// The type as it stands in the packet.
    pub wire: u8,
    pub code: u8,
    pub id: u16,
}

/// What a packet adds to its flow.
pub struct Arrival<'a> {
    pub section: &'a Section,
    pub swapped: bool,
    pub bytes: u64,
    pub now_ns: u64,
}

impl Flow {
    /// A flow that begins with this packet; nothing is counted yet.
    pub fn new(key: Key, arrival: &Arrival<'_>, ids: Ids, application: u16) -> Self {
        let section = arrival.section;
        Self {
            key,
            counters: Counters::default(),
            last_ns: arrival.now_ns,
            asked_ns: 0,
            swapped: arrival.swapped,
            touched: false,
            recent: true,
            asked_by_a: false,
            fins: 0,
            finish: Finish::NotFinished,
            application,
            rtt_ns: 0,
            ids,
            extra: None,
            start_ns: arrival.now_ns,
            path: section.path,
            before: Counters::default(),
            update: Counters::default(),
            update_start_ms: 0,
            update_last_ms: 0,
            first_macs: [section.mac_source, section.mac_destination],
            icmp: Icmp {
                kind: section.icmp_kind,
                wire: section.icmp_wire,
                code: section.icmp_code,
                id: section.icmp_id,
            },
            first_source_port: section.source_port,
        }
    }

    /// Read the parts that counting needs, so that they are at hand when it begins.
    #[inline]
    pub fn touch(&self) -> u64 {
        self.key.parent ^ self.counters.ab_packets ^ self.last_ns ^ self.ids.uuid
    }

    /// Count one packet.
    #[inline]
    pub fn add(&mut self, arrival: &Arrival<'_>) {
        let from_a = self.is_from_a(arrival);
        let counters = &mut self.counters;
        if from_a {
            counters.ab_packets += 1;
            counters.ab_bytes += arrival.bytes;
        } else {
            counters.ba_packets += 1;
            counters.ba_bytes += arrival.bytes;
        }
        // Time may go back a little between the queues of a network card.
        self.last_ns = self.last_ns.max(arrival.now_ns);
        self.touched = true;
        self.recent = true;
        let section = arrival.section;
        if section.transport == Transport::Tcp {
            self.tcp(section.tcp_flags, from_a, arrival.now_ns);
        } else if section.has_icmp && section.path.last() != Some(Layer::Fragment) {
            self.echo(section, from_a, arrival.now_ns);
        }
    }

    #[inline]
    fn is_from_a(&self, arrival: &Arrival<'_>) -> bool {
        let section = arrival.section;
        let same_ends = section.source == section.destination
            && section.mac_source == section.mac_destination
            && section.source_port == section.destination_port;
        // A packet from an end to itself has no direction: all count as the first did.
        same_ends || arrival.swapped == self.swapped
    }

    #[inline]
    fn tcp(&mut self, flags: u8, from_a: bool, now_ns: u64) {
        if flags & (tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST) == 0 {
            return;
        }
        if flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN {
            if self.asked_ns == 0 {
                (self.asked_ns, self.asked_by_a) = (now_ns, from_a);
            }
        } else if flags & (tcp_flag::SYN | tcp_flag::RST) != 0 {
            self.answered(from_a, now_ns);
        }
        if flags & tcp_flag::RST != 0 {
            self.finish = Finish::TcpRst;
        } else if flags & tcp_flag::FIN != 0 {
            self.fins |= if from_a { 1 } else { 2 };
            if self.fins == 3 && self.finish == Finish::NotFinished {
                self.finish = Finish::TcpFin;
            }
        }
    }

    fn echo(&mut self, section: &Section, from_a: bool, now_ns: u64) {
        if section.is_request {
            if self.asked_ns == 0 || self.asked_by_a == from_a {
                (self.asked_ns, self.asked_by_a) = (now_ns, from_a);
            }
        } else {
            self.answered(from_a, now_ns);
        }
    }

    fn answered(&mut self, from_a: bool, now_ns: u64) {
        if self.asked_ns != 0 && self.asked_by_a != from_a {
            self.rtt_ns = now_ns.saturating_sub(self.asked_ns);
            self.asked_ns = 0;
        }
    }

    /// Record when a connection was set up and ended.
    pub fn tcp_times(&mut self, arrival: &Arrival<'_>) {
        let from_a = self.is_from_a(arrival);
        let section = arrival.section;
        let flags = section.tcp_flags;
        let times = self.extra.get_or_insert_default().tcp.get_or_insert_default();
        let (side, now_ms) = (usize::from(!from_a), arrival.now_ns / 1_000_000);
        if flags & tcp_flag::SYN != 0 {
            if times.syn[side] == 0 {
                times.syn[side] = now_ms;
                times.syn_ttl[side] = section.ttl;
            }
        } else if flags & tcp_flag::FIN != 0 {
            times.fin[side] = now_ms;
        } else if flags & tcp_flag::RST != 0 {
            times.rst[side] = now_ms;
        }
    }

    /// Record what became of a segment.
    pub fn tcp_segment(&mut self, arrival: &Arrival<'_>) {
        let side = usize::from(!self.is_from_a(arrival));
        let section = arrival.section;
        let length = u32::try_from(section.payload_length()).unwrap_or(u32::MAX);
        let streams = self.extra.get_or_insert_default().streams.get_or_insert_default();
        streams[side].segment(section.tcp_flags, section.tcp_sequence, length, arrival.now_ns);
    }

    /// Add the fragments of one datagram.
    pub fn count_pieces(&mut self, pieces: Pieces) {
        let counted = &mut self.extra.get_or_insert_default().pieces;
        counted.held = counted.held.saturating_add(pieces.held);
        counted.errors = counted.errors.saturating_add(pieces.errors);
    }

    /// Keep what a packet says of its application.
    pub fn keep_found(&mut self, found: Found, now_ns: u64) {
        self.extra.get_or_insert_default().kept.get_or_insert_default().keep(found, now_ns);
    }

    /// Keep the packet itself, up to `limit` of a flow.
    pub fn keep_raw(&mut self, arrival: &Arrival<'_>, bytes: &[u8], limit: u32) {
        let has_link = arrival.section.has_link;
        let ip = arrival.section.ip;
        let extra = self.extra.get_or_insert_default();
        if extra.raw_count >= limit {
            return;
        }
        extra.raw_count += 1;
        extra.raw.push(RawPacket {
            time_ms: arrival.now_ns / 1_000_000,
            index: extra.raw_count,
            data: bytes.into(),
            // LINKTYPE_ETHERNET, LINKTYPE_IPV6, LINKTYPE_IPV4 of the tcpdump group's list.
            link_type: if has_link {
                1
            } else if ip == Ip::V6 {
                229
            } else {
                228
            },
        });
    }

    /// MAC addresses of the ends A and B.
    pub fn macs(&self) -> ([u8; 6], [u8; 6]) {
        (self.first_macs[0], self.first_macs[1])
    }

    /// Ports of the ends A and B.
    pub fn ports(&self) -> (u16, u16) {
        let (a, b) = self.ends();
        (if self.key.udp_tunnel { self.first_source_port } else { self.key.ports[a] }, self.key.ports[b])
    }

    /// Indexes into the key's pairs of the ends A and B.
    pub fn ends(&self) -> (usize, usize) {
        if self.swapped {
            (1, 0)
        } else {
            (0, 1)
        }
    }

    /// An update tick at `now_ms`, the one before it being at `since_ms`: what was counted in between.
    pub fn tick(&mut self, since_ms: u64, now_ms: u64) {
        self.update = self.counters.since(self.before);
        self.before = self.counters;
        self.update_start_ms = since_ms.max(self.start_ns / 1_000_000);
        self.update_last_ms = now_ms;
        self.touched = false;
    }

    /// An update tick of a flow that was quiet.
    pub fn quiet_tick(&mut self, since_ms: u64, now_ms: u64) {
        self.update = Counters::default();
        self.update_start_ms = since_ms;
        self.update_last_ms = now_ms;
    }

    /// Forget the kept packets, which have been sent.
    pub fn forget_raw(&mut self) {
        if let Some(extra) = &mut self.extra {
            extra.raw.clear();
        }
    }

    /// The flow ends because nothing comes any more, unless it has ended already.
    pub fn finish_by_time(&mut self) {
        if self.finish == Finish::NotFinished {
            self.finish = Finish::Timeout;
        }
        if let Some(streams) = self.extra.as_mut().and_then(|extra| extra.streams.as_mut()) {
            streams.iter_mut().for_each(Stream::end);
        }
    }
}
