//! From the bytes of a frame to its sections.
//!
//! Every read is checked, so that any bytes give a result: what cannot be understood ends the path there.

use crate::bytes::{array, be16};
use crate::layer::Layer;
use crate::packet::Packet;
use crate::section::{Ip, Section};

mod network;
mod transport;
mod tunnel;

/// A packet inside more tunnels than this is cut there.
pub const MAX_SECTIONS: usize = 8;
// More headers than any honest packet has; ends the work on a hostile one.
const MAX_HEADERS: usize = 64;

/// What a frame begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum First {
    Ethernet,
    /// IPv4 or IPv6, told by the version field; else ARP.
    Network,
    /// Linux cooked capture, version 1 (LINKTYPE_LINUX_SLL) and 2.
    Cooked,
    Cooked2,
    /// A four-byte address family before the network layer (LINKTYPE_NULL, LINKTYPE_LOOP).
    Family,
}

impl First {
    /// From a link type of pcap files (the tcpdump group's list of LINKTYPE_ values); None for others.
    pub fn of_link_type(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Self::Network),
            113 => Some(Self::Cooked),
            276 => Some(Self::Cooked2),
            0 | 108 => Some(Self::Family),
            _ => None,
        }
    }

    /// The link type by which packets that begin so are known.
    pub fn link_type(self) -> u32 {
        match self {
            Self::Ethernet => 1,
            Self::Network => 101,
            Self::Cooked => 113,
            Self::Cooked2 => 276,
            Self::Family => 0,
        }
    }
}

/// UDP destination ports that mean a tunnel.
#[derive(Clone, Debug)]
pub struct Ports {
    pub vxlan: Vec<u16>,
    pub geneve: u16,
    pub gtp: u16,
    /// MPLS over UDP: 6635 by RFC 7510, others by configuration.
    pub mpls: Vec<u16>,
}

impl Default for Ports {
    fn default() -> Self {
        Self { vxlan: vec![4789, 8472], geneve: 6081, gtp: 2152, mpls: vec![6635] }
    }
}

/// Where a fragment of an IP packet lies in its frame.
#[derive(Clone, Copy, Debug)]
pub struct Fragment {
    /// Offset of the IP header.
    pub header: usize,
    /// IPv6: offset of the fragment header; IPv4: 0.
    pub extension: usize,
    /// Offset of the fragment's data, and where they end on the wire.
    pub data: usize,
    pub end: usize,
    /// Which datagram it is of.
    pub identification: u32,
    pub protocol: u8,
    /// Its place in the datagram, in bytes.
    pub offset: usize,
    /// Others follow.
    pub more: bool,
}

/// The sections of frames, the outermost of each first.  Meant to be used again.
#[derive(Default)]
pub struct Dissected {
    pub sections: Vec<Section>,
    /// The last section of the last frame is a fragment.
    pub fragment: Option<Fragment>,
}

enum Next {
    Ethernet,
    EtherType(u16),
    /// By the version nibble.
    Network,
    Protocol(u8),
    Mpls,
    Done,
}

struct Walk<'a> {
    frame: &'a [u8],
    at: usize,
    /// Where the enclosing packet ends on the wire; what follows is padding.
    end: usize,
    tag: Option<(u16, u16)>,
    reassembled: &'a [usize],
    out: &'a mut Dissected,
    begin: usize,
    section: Section,
    ports: &'a Ports,
}

/// Take a frame apart; its sections are appended to `out`, none when there is neither a link nor a network layer.
///
/// `reassembled` are offsets of the IPv4 headers that now stand before a whole datagram.
#[inline]
pub fn dissect(packet: &Packet<'_>, ports: &Ports, reassembled: &[usize], out: &mut Dissected) {
    out.fragment = None;
    let mut walk = Walk {
        frame: packet.frame,
        at: 0,
        end: packet.frame.len().max(usize::try_from(packet.wire_length).unwrap_or(usize::MAX)),
        tag: packet.tag,
        reassembled,
        begin: out.sections.len(),
        out,
        section: Section::default(),
        ports,
    };
    let mut next = walk.first(packet.first).unwrap_or(Next::Done);
    for _ in 0..MAX_HEADERS {
        next = match next {
            Next::Ethernet => walk.ethernet(),
            Next::EtherType(number) => walk.ether_type(number),
            Next::Network => walk.network(),
            Next::Protocol(number) => walk.protocol(number),
            Next::Mpls => walk.mpls(),
            Next::Done => break,
        }
        .unwrap_or(Next::Done);
    }
    walk.section.payload = (walk.at, walk.end.max(walk.at));
    walk.close();
}

impl Walk<'_> {
    fn first(&mut self, first: First) -> Option<Next> {
        match first {
            First::Ethernet => Some(Next::Ethernet),
            First::Network => Some(Next::Network),
            First::Cooked => {
                let protocol = be16(self.frame, 14)?;
                self.at = 16;
                Some(Next::EtherType(protocol))
            }
            First::Cooked2 => {
                let protocol = be16(self.frame, 0)?;
                self.at = 20;
                Some(Next::EtherType(protocol))
            }
            First::Family => {
                self.at = 4;
                Some(Next::Network)
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.frame.get(self.at..self.end.min(self.frame.len())).unwrap_or(&[])
    }

    /// End a section; the next begins here.
    fn close(&mut self) {
        if self.room() && (self.section.has_link || self.section.ip != Ip::None) {
            self.out.sections.push(self.section);
        }
        self.section = Section { start: self.at, ..Section::default() };
    }

    fn room(&self) -> bool {
        self.out.sections.len() - self.begin < MAX_SECTIONS
    }

    fn split(&mut self, next: Next) -> Option<Next> {
        self.section.payload = (self.at, self.end);
        self.close();
        self.room().then_some(next)
    }

    /// IEEE 802.3, section 3.1.1.
    fn ethernet(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let kind = be16(bytes, 12)?;
        let (destination, source) = (array(bytes, 0)?, array(bytes, 6)?);
        self.section.has_link = true;
        self.section.mac_destination = destination;
        self.section.mac_source = source;
        self.section.path.push(Layer::Ethernet);
        self.at += 14;
        if let Some((_, tci)) = self.tag.take() {
            self.tagged(tci);
        }
        Some(Next::EtherType(kind))
    }

    /// Numbers of IANA's registry "IEEE 802 Numbers".
    fn ether_type(&mut self, number: u16) -> Option<Next> {
        match number {
            0x0800 => self.ipv4(),
            0x86dd => self.ipv6(),
            0x8100 | 0x88a8 | 0x9100 => self.vlan(),
            0x0806 => self.leaf(Layer::ARP, 8),
            0x8847 | 0x8848 => Some(Next::Mpls),
            0x8864 => self.pppoe(),
            0x8863 => self.leaf(Layer::PPPoE, 6),
            0x88cc => self.leaf(Layer::LinkLayerDiscovery, 2),
            0x888e => self.leaf(Layer::EAPOL, 4),
            // A length, not a type (IEEE 802.3, section 3.2.6).
            0..=0x05dc => self.llc(),
            _ => None,
        }
    }

    fn leaf(&mut self, layer: Layer, least: usize) -> Option<Next> {
        if self.rest().len() < least {
            return None;
        }
        self.section.path.push(layer);
        None
    }

    /// IEEE 802.1Q, section 9.6.
    fn vlan(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let (tag, kind) = (be16(bytes, 0)?, be16(bytes, 2)?);
        self.tagged(tag);
        self.at += 4;
        Some(Next::EtherType(kind))
    }

    fn tagged(&mut self, tag: u16) {
        if self.section.vlan_tags < 5 {
            self.section.vlans |= u64::from(tag & 0x0fff) << (12 * self.section.vlan_tags);
        }
        self.section.vlan_tags += 1;
        self.section.path.push(Layer::Dot1Q);
    }

    /// IEEE 802.2; STP is IEEE 802.1D, section 9.
    fn llc(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let (access, control) = (be16(bytes, 0)?, *bytes.get(2)?);
        let snap = be16(bytes, 6);
        self.section.path.push(Layer::LLC);
        self.at += 3;
        match (access, control) {
            (0x4242, _) => self.leaf(Layer::STP, 4),
            (0xaaaa, 3) => {
                let kind = snap?;
                self.section.path.push(Layer::SNAP);
                self.at += 5;
                (kind > 0x05dc).then_some(Next::EtherType(kind))
            }
            _ => None,
        }
    }

    /// RFC 2516, section 4; PPP protocol numbers of RFC 1332 and RFC 5072.
    fn pppoe(&mut self) -> Option<Next> {
        let protocol = be16(self.rest(), 6)?;
        self.section.path.push(Layer::PPPoE);
        self.section.path.push(Layer::PPP);
        self.at += 8;
        matches!(protocol, 0x0021 | 0x0057).then_some(Next::Network)
    }

    fn network(&mut self) -> Option<Next> {
        match self.rest().first()? >> 4 {
            4 => self.ipv4(),
            6 => self.ipv6(),
            _ => self.leaf(Layer::ARP, 8),
        }
    }
}
