//! TCP, UDP, SCTP and ICMP, and what the ports of UDP mean.

use super::{Next, Walk};
use crate::bytes::{array, be16};
use crate::layer::Layer;
use crate::section::{IcmpKind, Transport};

impl Walk<'_> {
    /// RFC 9293, section 3.1.
    pub(super) fn tcp(&mut self) -> Option<Next> {
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

    pub(super) fn ports(&mut self, transport: Transport, layer: Layer, ports: [u8; 4]) {
        self.section.transport = transport;
        self.section.source_port = u16::from_be_bytes([ports[0], ports[1]]);
        self.section.destination_port = u16::from_be_bytes([ports[2], ports[3]]);
        self.section.path.push(layer);
    }

    /// RFC 9260, section 3.1.
    pub(super) fn sctp(&mut self) -> Option<Next> {
        let header: [u8; 12] = array(self.rest(), 0)?;
        self.ports(Transport::Sctp, Layer::SCTP, header[..4].try_into().ok()?);
        self.at += 12;
        None
    }

    /// RFC 768; what a port means is of IANA's "Service Name and Transport Protocol Port Number Registry".
    pub(super) fn udp(&mut self) -> Option<Next> {
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
    pub(super) fn udp_payload(&mut self, port: u16) -> Option<Next> {
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

    /// RFC 792.
    pub(super) fn icmpv4(&mut self) -> Option<Next> {
        let [kind, code, _, _, high, low, ..] = array::<8>(self.rest(), 0)?;
        self.icmp(IcmpKind::of_v4(kind), kind, code, u16::from_be_bytes([high, low]));
        self.section.is_request = kind == 8;
        self.section.path.push(Layer::ICMPv4);
        self.at += 8;
        None
    }

    pub(super) fn icmp(&mut self, kind: IcmpKind, wire: u8, code: u8, id: u16) {
        self.section.icmp_wire = wire;
        self.section.has_icmp = true;
        self.section.icmp_kind = kind;
        self.section.icmp_code = code;
        self.section.icmp_id = id;
    }

    /// RFC 4443, RFC 4861, RFC 2710, RFC 3810.
    pub(super) fn icmpv6(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let [kind, code, _, _] = array(bytes, 0)?;
        let identifier = be16(bytes, 4);
        let echo = matches!(kind, 128 | 129);
        self.icmp(IcmpKind::of_v6(kind), kind, code, if echo { identifier.unwrap_or(0) } else { 0 });
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
