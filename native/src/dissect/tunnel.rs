//! Headers that carry another packet.

use super::{Next, Walk};
use crate::bytes::{be16, be24, be32};
use crate::layer::Layer;

impl Walk<'_> {
    /// RFC 7348, section 5.
    pub(super) fn vxlan(&mut self) -> Option<Next> {
        let bytes = self.rest();
        let (flags, identifier) = (*bytes.first()?, be24(bytes, 4)?);
        if flags & 0x08 == 0 || bytes.len() < 8 {
            return None;
        }
        self.tunnel(Layer::VXLAN, identifier, 8);
        self.section.udp_tunnel = true;
        self.split(Next::Ethernet)
    }

    pub(super) fn tunnel(&mut self, layer: Layer, identifier: u32, size: usize) {
        self.section.path.push(layer);
        self.section.network_id = identifier;
        self.at += size;
    }

    /// RFC 8926, section 3.4.
    pub(super) fn geneve(&mut self) -> Option<Next> {
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
    pub(super) fn gtp(&mut self) -> Option<Next> {
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
        if kind == 255 {
            self.split(Next::Network)
        } else {
            None
        }
    }

    /// RFC 2784, RFC 2890; version 1 is RFC 2637; ERSPAN is draft-foschiano-erspan-03.
    pub(super) fn gre(&mut self) -> Option<Next> {
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
            0x88be if has(0x1000) => 8,
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
                if matches!(protocol, 0x0021 | 0x0057) {
                    self.split(Next::Network)
                } else {
                    None
                }
            }
            other => self.split(Next::EtherType(other)),
        }
    }

    /// RFC 3032, section 2.1.  The whole label stack is one layer; what follows is guessed by its first nibble.
    pub(super) fn mpls(&mut self) -> Option<Next> {
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
}
