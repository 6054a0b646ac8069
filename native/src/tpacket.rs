//! Blocks of a TPACKET_V3 ring (linux/if_packet.h; Documentation/networking/packet_mmap.rst).
//!
//! Numbers are in the byte order of the machine that runs this.

use crate::dissect::First;

/// One packet of a block.
pub struct Packet<'a> {
    pub frame: &'a [u8],
    pub wire_length: u64,
    pub time_ns: u64,
    /// The tag that the network card or the kernel took out of the frame: (TPID, TCI).
    pub vlan: Option<(u16, u16)>,
}

// struct tpacket_block_desc: version, offset_to_priv, then struct tpacket_hdr_v1.
const BLOCK_PACKETS: usize = 12;
const BLOCK_FIRST: usize = 16;
// struct tpacket3_hdr.
const NEXT: usize = 0;
const SECONDS: usize = 4;
const NANOSECONDS: usize = 8;
const SNAPLEN: usize = 12;
const LENGTH: usize = 16;
const STATUS: usize = 20;
const MAC: usize = 24;
const VLAN_TCI: usize = 32;
const VLAN_TPID: usize = 36;
const HEADER: usize = 48;

/// TP_STATUS_VLAN_VALID and TP_STATUS_VLAN_TPID_VALID.
const VLAN_VALID: u32 = 1 << 4;
const TPID_VALID: u32 = 1 << 6;
const ETH_P_8021Q: u16 = 0x8100;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Walk over the packets of one block; returns how many there were, None when the block contradicts itself.
pub fn each(block: &[u8], mut see: impl FnMut(Packet<'_>)) -> Option<u32> {
    let count = u32_at(block, BLOCK_PACKETS)?;
    let mut at = u32_at(block, BLOCK_FIRST)? as usize;
    for _ in 0..count {
        let header = block.get(at..)?.get(..HEADER)?;
        let start = at + usize::from(u16_at(header, MAC)?);
        let frame = block.get(start..start + u32_at(header, SNAPLEN)? as usize)?;
        let status = u32_at(header, STATUS)?;
        let tpid = if status & TPID_VALID != 0 { u16_at(header, VLAN_TPID)? } else { ETH_P_8021Q };
        see(Packet {
            frame,
            wire_length: u64::from(u32_at(header, LENGTH)?),
            time_ns: u64::from(u32_at(header, SECONDS)?) * 1_000_000_000 + u64::from(u32_at(header, NANOSECONDS)?),
            vlan: (status & VLAN_VALID != 0).then_some((tpid, u32_at(header, VLAN_TCI)? as u16)),
        });
        let next = u32_at(header, NEXT)? as usize;
        at += next;
        if next == 0 {
            break;
        }
    }
    Some(count)
}

/// Put a tag back where it was, behind the addresses of an Ethernet frame.
pub fn with_tag(frame: &[u8], tag: (u16, u16), first: First, out: &mut Vec<u8>) -> bool {
    out.clear();
    if first != First::Ethernet || frame.len() < 12 {
        return false;
    }
    out.extend_from_slice(&frame[..12]);
    out.extend_from_slice(&tag.0.to_be_bytes());
    out.extend_from_slice(&tag.1.to_be_bytes());
    out.extend_from_slice(&frame[12..]);
    true
}
