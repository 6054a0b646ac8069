//! IPv4 and IPv6 with their extension headers.

use super::{Fragment, Next, Walk};
use crate::bytes::{array, be16, be32};
use crate::layer::Layer;
use crate::section::Ip;

impl Walk<'_> {
    /// RFC 791, section 3.1.
    pub(super) fn ipv4(&mut self) -> Option<Next> {
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
        let begin = self.at;
        self.at += size;
        if fragment != 0 {
            self.out.fragment = Some(Fragment {
                header: begin,
                extension: 0,
                data: self.at,
                end: self.end.max(self.at),
                identification: u32::from(u16::from_be_bytes([header[4], header[5]])),
                protocol: header[9],
                offset: usize::from(fragment & 0x1fff) * 8,
                more: fragment & 0x2000 != 0,
            });
            self.section.fragment = true;
            self.section.path.push(Layer::Fragment);
            return None;
        }
        if self.reassembled.contains(&begin) {
            self.section.path.push(Layer::Fragment);
        }
        Some(Next::Protocol(header[9]))
    }

    /// RFC 8200, section 3.
    pub(super) fn ipv6(&mut self) -> Option<Next> {
        if self.section.ip != Ip::None {
            return self.split(Next::EtherType(0x86dd));
        }
        let bytes = self.rest();
        let header: [u8; 40] = array(bytes, 0)?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let begin = self.at;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let section = &mut self.section;
        section.ip = Ip::V6;
        section.ip_start = begin;
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
    pub(super) fn protocol(&mut self, number: u8) -> Option<Next> {
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
    pub(super) fn extension(&mut self, layer: Layer) -> Option<Next> {
        let [next, length] = array(self.rest(), 0)?;
        self.section.path.push(layer);
        self.at += (usize::from(length) + 1) * 8;
        Some(Next::Protocol(next))
    }

    pub(super) fn ipv6_fragment(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let (next, place, identification) = (*bytes.first()?, be16(bytes, 2)?, be32(bytes, 4)?);
        self.section.path.push(Layer::IPv6Fragment);
        let extension = self.at;
        self.at += 8;
        // An atomic fragment is a whole packet (RFC 6946).
        if place & 0xfff9 == 0 {
            return Some(Next::Protocol(next));
        }
        self.out.fragment = Some(Fragment {
            header: self.section.ip_start,
            extension,
            data: self.at,
            end: self.end.max(self.at),
            identification,
            protocol: next,
            offset: usize::from(place & 0xfff8),
            more: place & 1 != 0,
        });
        self.section.fragment = true;
        self.section.path.push(Layer::Fragment);
        None
    }

    /// RFC 4302, section 2.
    pub(super) fn authentication(&mut self) -> Option<Next> {
        let [next, length] = array(self.rest(), 0)?;
        self.section.path.push(Layer::IPSecAH);
        self.at += (usize::from(length) + 2) * 4;
        Some(Next::Protocol(next))
    }
}
