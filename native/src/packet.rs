//! A packet as sources hand it over.

use crate::dissect::First;

/// One packet, borrowed from whoever read it.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    /// What was captured of it.
    pub frame: &'a [u8],
    /// Its length on the wire, in bytes; a tag that was taken out is not counted.
    pub wire_length: u64,
    /// When it was seen, in nanoseconds since the epoch.
    pub time_ns: u64,
    pub first: First,
    /// The VLAN tag that the network card or the kernel took out of the frame: (TPID, TCI).
    pub tag: Option<(u16, u16)>,
}

/// Sources hand over so many packets at a time, so that the table can look ahead.
pub const BATCH: usize = 32;

/// Collects packets to batches.
pub struct Batcher<'a, F: FnMut(&[Packet<'_>])> {
    packets: Vec<Packet<'a>>,
    see: F,
}

impl<'a, F: FnMut(&[Packet<'_>])> Batcher<'a, F> {
    /// Every batch, and the rest when this goes, is given to `see`.
    pub fn new(see: F) -> Self {
        Self { packets: Vec::with_capacity(BATCH), see }
    }

    /// Add one packet.
    #[inline]
    pub fn push(&mut self, packet: Packet<'a>) {
        self.packets.push(packet);
        if self.packets.len() == BATCH {
            (self.see)(&self.packets);
            self.packets.clear();
        }
    }
}

impl<F: FnMut(&[Packet<'_>])> Drop for Batcher<'_, F> {
    fn drop(&mut self) {
        if !self.packets.is_empty() {
            (self.see)(&self.packets);
        }
    }
}

/// The frame with its tag where it was, behind the addresses of Ethernet; None when nothing was taken out.
pub fn with_tag(packet: &Packet<'_>) -> Option<Vec<u8>> {
    let (tpid, tci) = packet.tag?;
    if packet.first != First::Ethernet {
        return None;
    }
    let (addresses, rest) = packet.frame.split_at_checked(12)?;
    let mut whole = addresses.to_vec();
    whole.extend_from_slice(&tpid.to_be_bytes());
    whole.extend_from_slice(&tci.to_be_bytes());
    whole.extend_from_slice(rest);
    Some(whole)
}
