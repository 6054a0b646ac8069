//! Blocks of a TPACKET_V3 ring (linux/if_packet.h; Documentation/networking/packet_mmap.rst).
//!
//! Numbers are in the byte order of the machine that runs this.

use crate::dissect::First;
use crate::packet::{Batcher, Packet};

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

/// Give the packets of one block to `see`, in batches; returns how many there are, None when the block contradicts itself.
pub fn each(block: &[u8], first: First, see: impl FnMut(&[Packet<'_>])) -> Option<u32> {
    let mut batcher = Batcher::new(see);
    let count = u32_at(block, BLOCK_PACKETS)?;
    let mut at = u32_at(block, BLOCK_FIRST)? as usize;
    for number in 0..count {
        let header = block.get(at..)?.get(..HEADER)?;
        let start = at + usize::from(u16_at(header, MAC)?);
        let frame = block.get(start..start + u32_at(header, SNAPLEN)? as usize)?;
        let status = u32_at(header, STATUS)?;
        let tpid = if status & TPID_VALID != 0 { u16_at(header, VLAN_TPID)? } else { ETH_P_8021Q };
        batcher.push(Packet {
            frame,
            wire_length: u64::from(u32_at(header, LENGTH)?),
            time_ns: u64::from(u32_at(header, SECONDS)?) * 1_000_000_000 + u64::from(u32_at(header, NANOSECONDS)?),
            first,
            tag: (status & VLAN_VALID != 0).then_some((tpid, u32_at(header, VLAN_TCI)? as u16)),
        });
        let next = u32_at(header, NEXT)? as usize;
        if next == 0 && number + 1 < count {
            return None;
        }
        at += next;
    }
    Some(count)
}
