//! From the bytes of a frame to its sections.
//!
//! Every read is checked, so that any bytes give a result: what cannot be understood ends the path there.

use crate::bytes::{array, be16, be24, be32};
use crate::layer::Layer;
use crate::section::{Ip, IcmpKind, Section, Transport};

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

/// The sections of one frame, the outermost first.  Meant to be used again for the next frame.
#[derive(Default)]
pub struct Dissected {
    sections: [Section; MAX_SECTIONS],
    count: usize,
}

impl Dissected {
    /// What was found; empty when there is neither a link nor a network layer.
    #[inline]
    pub fn sections(&self) -> &[Section] {
        &self.sections[..self.count]
    }
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
    /// Where the enclosing packet ends; what follows is padding.
    end: usize,
    out: &'a mut Dissected,
    section: Section,
    ports: &'a Ports,
}

/// Take a frame apart.
pub fn dissect(frame: &[u8], first: First, ports: &Ports, out: &mut Dissected) {
    out.count = 0;
    let mut walk = Walk { frame, at: 0, end: frame.len(), out, section: Section::default(), ports };
    let mut next = walk.first(first).unwrap_or(Next::Done);
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
        if self.out.count < MAX_SECTIONS && (self.section.has_link || self.section.ip != Ip::None) {
            self.out.sections[self.out.count] = self.section;
            self.out.count += 1;
        }
        self.section = Section { start: self.at, ..Section::default() };
    }

    fn split(&mut self, next: Next) -> Option<Next> {
        self.section.payload = (self.at, self.end);
        self.close();
        (self.out.count < MAX_SECTIONS).then_some(next)
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
        if self.section.vlan_tags < 5 {
            self.section.vlans |= u64::from(tag & 0x0fff) << (12 * self.section.vlan_tags);
        }
        self.section.vlan_tags += 1;
        self.section.path.push(Layer::Dot1Q);
        self.at += 4;
        Some(Next::EtherType(kind))
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

    /// RFC 791, section 3.1.
    fn ipv4(&mut self) -> Option<Next> {
        if self.section.ip != Ip::None {
            return self.split(Next::EtherType(0x0800)); // IP in IP
        }
        let bytes = self.rest();
        let header: [u8; 20] = array(bytes, 0)?;
        let size = usize::from(header[0] & 15) * 4;
        if header[0] >> 4 != 4 || size < 20 {
            return None;
        }
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff; // more fragments, or an offset
        let section = &mut self.section;
        section.ip = Ip::V4;
        section.ttl = header[8];
        section.ip_length = total as u32;
        section.source[..4].copy_from_slice(&header[12..16]);
        section.destination[..4].copy_from_slice(&header[16..20]);
        section.path.push(Layer::IPv4);
        // Zero: left to the network card (TCP segmentation offload).
        if total >= size {
            self.end = self.end.min(self.at + total);
        }
        self.at += size;
        if fragment != 0 {
            self.section.fragment = true;
            self.section.path.push(Layer::Fragment);
            return None;
        }
        Some(Next::Protocol(header[9]))
    }

    /// RFC 8200, section 3.
    fn ipv6(&mut self) -> Option<Next> {
        if self.section.ip != Ip::None {
            return self.split(Next::EtherType(0x86dd));
        }
        let bytes = self.rest();
        let header: [u8; 40] = array(bytes, 0)?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let section = &mut self.section;
        section.ip = Ip::V6;
        section.ttl = header[7];
        section.ip_length = length as u32;
        section.source.copy_from_slice(&header[8..24]);
        section.destination.copy_from_slice(&header[24..40]);
        section.path.push(Layer::IPv6);
        self.at += 40;
        // Zero: a jumbogram (RFC 2675), or offload.
        if length > 0 {
            self.end = self.end.min(self.at + length);
        }
        Some(Next::Protocol(header[6]))
    }

    /// IANA's "Protocol Numbers".
    fn protocol(&mut self, number: u8) -> Option<Next> {
        match number {
            6 => self.tcp(),
            17 => self.udp(),
            1 => self.icmpv4(),
            58 => self.icmpv6(),
            132 => self.sctp(),
            47 => self.gre(),
            4 => Some(Next::EtherType(0x0800)),
            41 => Some(Next::EtherType(0x86dd)),
            0 => self.extension(Layer::IPv6HopByHop),
            43 => self.extension(Layer::IPv6Routing),
            60 => self.extension(Layer::IPv6Destination),
            44 => self.ipv6_fragment(),
            51 => self.authentication(),
            50 => self.leaf(Layer::IPSecESP, 8),
            2 => self.leaf(Layer::IGMP, 8),
            89 => self.leaf(Layer::OSPF, 16),
            112 => self.leaf(Layer::VRRP, 8),
            137 => Some(Next::Mpls),
            97 => {
                self.section.path.push(Layer::EtherIP);
                self.at += 2; // RFC 3378
                self.split(Next::Ethernet)
            }
            136 => self.leaf(Layer::UDPLite, 8),
            _ => None,
        }
    }

    /// RFC 8200, sections 4.3 to 4.6.
    fn extension(&mut self, layer: Layer) -> Option<Next> {
        let [next, length] = array(self.rest(), 0)?;
        self.section.path.push(layer);
        self.at += (usize::from(length) + 1) * 8;
        Some(Next::Protocol(next))
    }

    fn ipv6_fragment(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let (next, place) = (*bytes.first()?, be16(bytes, 2)?);
        self.section.path.push(Layer::IPv6Fragment);
        self.at += 8;
        // An atomic fragment is a whole packet (RFC 6946).
        if place & 0xfff9 == 0 {
            return Some(Next::Protocol(next));
        }
        self.section.fragment = true;
        self.section.path.push(Layer::Fragment);
        None
    }

    /// RFC 4302, section 2.
    fn authentication(&mut self) -> Option<Next> {
        let [next, length] = array(self.rest(), 0)?;
        self.section.path.push(Layer::IPSecAH);
        self.at += (usize::from(length) + 2) * 4;
        Some(Next::Protocol(next))
    }

    /// RFC 9293, section 3.1.
    fn tcp(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let header: [u8; 14] = array(bytes, 0)?;
        let size = usize::from(header[12] >> 4) * 4;
        if size < 20 {
            return None;
        }
        self.ports(Transport::Tcp, Layer::TCP, header[..4].try_into().ok()?);
        self.section.tcp_sequence = u32::from_be_bytes(header[4..8].try_into().ok()?);
        self.section.tcp_flags = header[13];
        self.at += size;
        None
    }

    fn ports(&mut self, transport: Transport, layer: Layer, ports: [u8; 4]) {
        self.section.transport = transport;
        self.section.source_port = u16::from_be_bytes([ports[0], ports[1]]);
        self.section.destination_port = u16::from_be_bytes([ports[2], ports[3]]);
        self.section.path.push(layer);
    }

    /// RFC 9260, section 3.1.
    fn sctp(&mut self) -> Option<Next> {
        let header: [u8; 12] = array(self.rest(), 0)?;
        self.ports(Transport::Sctp, Layer::SCTP, header[..4].try_into().ok()?);
        self.at += 12;
        None
    }

    /// RFC 768; what a port means is of IANA's "Service Name and Transport Protocol Port Number Registry".
    fn udp(&mut self) -> Option<Next> {
        let header: [u8; 8] = array(self.rest(), 0)?;
        self.ports(Transport::Udp, Layer::UDP, header[..4].try_into().ok()?);
        self.at += 8;
        let (source, destination) = (self.section.source_port, self.section.destination_port);
        match self.udp_payload(destination) {
            Some(Next::Done) => self.udp_payload(source),
            next => next,
        }
    }

    /// `Done` when the port means nothing.
    fn udp_payload(&mut self, port: u16) -> Option<Next> {
        if self.ports.vxlan.contains(&port) {
            return self.vxlan();
        }
        if port == self.ports.geneve {
            return self.geneve();
        }
        if port == self.ports.gtp {
            return self.gtp();
        }
        if self.ports.mpls.contains(&port) {
            return Some(Next::Mpls);
        }
        match port {
            53 => self.leaf(Layer::DNS, 12),
            67 | 68 => self.leaf(Layer::DHCPv4, 240),
            123 => self.leaf(Layer::NTP, 48),
            546 | 547 => self.leaf(Layer::DHCPv6, 4),
            3784 => self.leaf(Layer::BFD, 24),
            5060 => self.leaf(Layer::SIP, 8),
            6343 => self.leaf(Layer::SFlow, 28),
            _ => Some(Next::Done),
        }
    }

    /// RFC 7348, section 5.
    fn vxlan(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let (flags, identifier) = (*bytes.first()?, be24(bytes, 4)?);
        if flags & 0x08 == 0 || bytes.len() < 8 {
            return None;
        }
        self.tunnel(Layer::VXLAN, identifier, 8);
        self.section.udp_tunnel = true;
        self.split(Next::Ethernet)
    }

    fn tunnel(&mut self, layer: Layer, identifier: u32, size: usize) {
        self.section.path.push(layer);
        self.section.network_id = identifier;
        self.at += size;
    }

    /// RFC 8926, section 3.4.
    fn geneve(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let (first, kind, identifier) = (*bytes.first()?, be16(bytes, 2)?, be24(bytes, 4)?);
        if first >> 6 != 0 {
            return None;
        }
        self.tunnel(Layer::Geneve, identifier, 8 + usize::from(first & 0x3f) * 4);
        self.section.udp_tunnel = true;
        self.split(if kind == 0x6558 { Next::Ethernet } else { Next::EtherType(kind) })
    }

    /// 3GPP TS 29.281, section 5.
    fn gtp(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let (flags, kind, identifier) = (*bytes.first()?, *bytes.get(1)?, be32(bytes, 4)?);
        if flags & 0xf0 != 0x30 {
            return None;
        }
        let mut size = 8;
        if flags & 7 != 0 {
            let mut extension = *bytes.get(11)?;
            size = 12;
            while extension != 0 && flags & 4 != 0 {
                let length = usize::from(*bytes.get(size)?) * 4;
                if length == 0 {
                    return None;
                }
                size += length;
                extension = *bytes.get(size - 1)?;
            }
        }
        self.tunnel(Layer::GTPv1U, identifier, size);
        // 255: a user packet; others belong to GTP itself.
        if kind == 255 { self.split(Next::Network) } else { None }
    }

    /// RFC 2784, RFC 2890; version 1 is RFC 2637; ERSPAN is draft-foschiano-erspan-03.
    fn gre(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let (flags, kind) = (be16(bytes, 0)?, be16(bytes, 2)?);
        let has = |bit: u16| flags & bit != 0;
        let mut size = 4;
        if has(0x8000) || has(0x4000) {
            size += 4;
        }
        let mut identifier = 0;
        if has(0x2000) {
            identifier = be32(bytes, size)?;
            size += 4;
        }
        if has(0x1000) {
            size += 4;
        }
        if flags & 7 == 1 {
            // The upper half of the key is the payload's length, and differs between packets.
            identifier &= 0xffff;
            size += if has(0x0080) { 4 } else { 0 };
        }
        let erspan = match kind {
            // Type II has a header only with a sequence number; type I has none.
            0x88be => if has(0x1000) { 8 } else { 0 },
            0x22eb => 12 + if bytes.get(size + 11)? & 1 == 1 { 8 } else { 0 },
            _ => 0,
        };
        self.tunnel(Layer::GRE, identifier, size + erspan);
        match kind {
            0x6558 | 0x88be | 0x22eb => self.split(Next::Ethernet),
            0x8847 | 0x8848 => Some(Next::Mpls),
            0x880b => {
                let protocol = be16(self.rest(), 0)?;
                self.at += 2;
                if matches!(protocol, 0x0021 | 0x0057) { self.split(Next::Network) } else { None }
            }
            other => self.split(Next::EtherType(other)),
        }
    }

    /// RFC 3032, section 2.1.  The whole label stack is one layer; what follows is guessed by its first nibble.
    fn mpls(&mut self) -> Option<Next> {
        loop {
            let entry = be32(self.rest(), 0)?;
            self.at += 4;
            if entry & 0x100 != 0 {
                break;
            }
        }
        self.section.path.push(Layer::MPLS);
        match self.rest().first()? >> 4 {
            4 | 6 => self.split(Next::Network),
            _ => self.split(Next::Ethernet),
        }
    }

    /// RFC 792.
    fn icmpv4(&mut self) -> Option<Next> {
        let [kind, code, _, _, high, low, ..] = array::<8>(self.rest(), 0)?;
        self.icmp(IcmpKind::of_v4(kind), code, u16::from_be_bytes([high, low]));
        self.section.is_request = kind == 8;
        self.section.path.push(Layer::ICMPv4);
        self.at += 8;
        None
    }

    fn icmp(&mut self, kind: IcmpKind, code: u8, id: u16) {
        self.section.has_icmp = true;
        self.section.icmp_kind = kind;
        self.section.icmp_code = code;
        self.section.icmp_id = id;
    }

    /// RFC 4443, RFC 4861, RFC 2710, RFC 3810.
    fn icmpv6(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let [kind, code, _, _] = array(bytes, 0)?;
        let identifier = be16(bytes, 4);
        let echo = matches!(kind, 128 | 129);
        self.icmp(IcmpKind::of_v6(kind), code, if echo { identifier.unwrap_or(0) } else { 0 });
        self.section.is_request = kind == 128;
        self.section.path.push(Layer::ICMPv6);
        let inner = match kind {
            128 | 129 => Layer::ICMPv6Echo,
            130 => Layer::MLDv1MulticastListenerQuery,
            131 => Layer::MLDv1MulticastListenerReport,
            132 => Layer::MLDv1MulticastListenerDone,
            133 => Layer::ICMPv6RouterSolicitation,
            134 => Layer::ICMPv6RouterAdvertisement,
            135 => Layer::ICMPv6NeighborSolicitation,
            136 => Layer::ICMPv6NeighborAdvertisement,
            137 => Layer::ICMPv6Redirect,
            143 => Layer::MLDv2MulticastListenerReport,
            _ => return None,
        };
        self.at += 4;
        self.leaf(inner, 4)
    }
}
