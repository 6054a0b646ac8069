//! What dissection finds: one section for each flow that a packet belongs to.

use crate::layer::Path;

/// Transport protocols that have ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[repr(u8)]
pub enum Transport {
    /// No ports.
    #[default]
    None = 0,
    Tcp = 4,
    Udp = 5,
    Sctp = 6,
}

/// Version of the network layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[repr(u8)]
pub enum Ip {
    /// There is none.
    #[default]
    None = 0,
    V4 = 4,
    V6 = 6,
}

/// Kinds of ICMP messages, the same for a request and its reply (Skydive's ICMPType).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum IcmpKind {
    #[default]
    Unknown = 0,
    DestinationUnreachable = 1,
    Echo = 2,
    Neighbor = 3,
    AddressMask = 4,
    Info = 5,
    ParameterProblem = 6,
    Redirect = 7,
    Router = 8,
    SourceQuench = 9,
    TimeExceeded = 10,
    Timestamp = 11,
    PacketTooBig = 12,
}

impl IcmpKind {
    /// From the type of an ICMPv4 message (RFC 792, 950, 1256).
    pub fn of_v4(kind: u8) -> Self {
        match kind {
            0 | 8 => Self::Echo,
            3 => Self::DestinationUnreachable,
            4 => Self::SourceQuench,
            5 => Self::Redirect,
            9 | 10 => Self::Router,
            11 => Self::TimeExceeded,
            12 => Self::ParameterProblem,
            13 | 14 => Self::Timestamp,
            15 | 16 => Self::Info,
            17 | 18 => Self::AddressMask,
            _ => Self::Unknown,
        }
    }

    /// From the type of an ICMPv6 message (RFC 4443, 4861).
    pub fn of_v6(kind: u8) -> Self {
        match kind {
            1 => Self::DestinationUnreachable,
            2 => Self::PacketTooBig,
            3 => Self::TimeExceeded,
            4 => Self::ParameterProblem,
            128 | 129 => Self::Echo,
            133 | 134 => Self::Router,
            135 | 136 => Self::Neighbor,
            137 => Self::Redirect,
            _ => Self::Unknown,
        }
    }

    /// The type of the message that stands for this kind, a request where there is one.
    pub fn wire(self, v6: bool) -> u8 {
        let number = self as usize;
        if v6 {
            [0, 1, 128, 135, 0, 0, 4, 137, 133, 0, 3, 0, 2][number]
        } else {
            [0, 3, 8, 0, 17, 15, 12, 5, 10, 4, 11, 13, 0][number]
        }
    }

    /// From the name in a flow's `ICMP.Type`.
    pub fn of_name(name: &str) -> Option<Self> {
        ALL_ICMP_KINDS.into_iter().find(|kind| kind.name() == name)
    }

    /// The name in a flow's `ICMP.Type`.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 13] = [
            "UNKNOWN",
            "DESTINATION_UNREACHABLE",
            "ECHO",
            "NEIGHBOR",
            "ADDRESS_MASK",
            "INFO",
            "PARAMETER_PROBLEM",
            "REDIRECT",
            "ROUTER",
            "SOURCE_QUENCH",
            "TIME_EXCEEDED",
            "TIMESTAMP",
            "PACKET_TOO_BIG",
        ];
        NAMES[self as usize]
    }
}

const ALL_ICMP_KINDS: [IcmpKind; 13] = [
    IcmpKind::Unknown,
    IcmpKind::DestinationUnreachable,
    IcmpKind::Echo,
    IcmpKind::Neighbor,
    IcmpKind::AddressMask,
    IcmpKind::Info,
    IcmpKind::ParameterProblem,
    IcmpKind::Redirect,
    IcmpKind::Router,
    IcmpKind::SourceQuench,
    IcmpKind::TimeExceeded,
    IcmpKind::Timestamp,
    IcmpKind::PacketTooBig,
];

/// TCP flags (RFC 9293, section 3.1).
pub mod tcp_flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
}

/// The layers of a packet between two tunnel headers, as one flow sees them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Section {
    pub path: Path,
    /// Offset of its first byte in the frame.
    pub start: usize,
    pub has_link: bool,
    pub mac_source: [u8; 6],
    pub mac_destination: [u8; 6],
    /// VLAN ids, 12 bits each, the outer one lowest.
    pub vlans: u64,
    pub vlan_tags: u32,
    pub ip: Ip,
    /// Offset of the IPv6 header in the frame.
    pub ip_start: usize,
    /// IPv4 addresses stand in the first four bytes.
    pub source: [u8; 16],
    pub destination: [u8; 16],
    pub ttl: u8,
    /// Length of the IP packet with its header (IPv6: without), in bytes.
    pub ip_length: u32,
    /// VNI, GRE key or TEID of the tunnel header that ends this section.
    pub network_id: u32,
    /// The section ends with VXLAN or Geneve: the UDP source port tells nothing of the conversation.
    pub udp_tunnel: bool,
    pub transport: Transport,
    pub source_port: u16,
    pub destination_port: u16,
    pub has_icmp: bool,
    pub icmp_kind: IcmpKind,
    /// The message type as it stands in the packet.
    pub icmp_wire: u8,
    pub icmp_code: u8,
    pub icmp_id: u16,
    /// An ICMP echo request (not its reply).
    pub is_request: bool,
    pub tcp_flags: u8,
    pub tcp_sequence: u32,
    /// A fragment of an IP packet that does not hold the transport header for certain.
    pub fragment: bool,
    /// What follows the last understood header, as offsets in the frame; its end is that on the wire.
    pub payload: (usize, usize),
}

impl Section {
    /// The part of the frame after the last understood header.
    /// Cut when the frame was cut.
    pub fn payload_of<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame.get(self.payload.0..self.payload.1.min(frame.len())).unwrap_or(&[])
    }

    /// Length of that part on the wire, in bytes.
    pub fn payload_length(&self) -> usize {
        self.payload.1.saturating_sub(self.payload.0)
    }
}
