//! How many bytes of a packet belong to each of its sections.

use crate::identity::KeyMode;
use crate::packet::Packet;
use crate::section::Section;

/// The length of a packet as the sections see it.
#[derive(Clone, Copy)]
pub struct Extent {
    wire: u64,
    /// Sections behind this offset lie in a datagram that was put together, and see its length instead.
    whole: Option<(usize, u64)>,
    /// The length of a tag that was taken out; it belongs to the first section.
    tag: u64,
}

impl Extent {
    /// Of a whole packet.
    pub fn of(packet: &Packet<'_>) -> Self {
        Self { wire: packet.wire_length, whole: None, tag: if packet.tag.is_some() { 4 } else { 0 } }
    }

    /// The same with a datagram that was put together behind an IP header at this offset.
    pub fn within(self, header: usize, length: u64) -> Self {
        Self { whole: Some((header, length)), ..self }
    }

    /// What a section counts, in bytes.
    #[inline]
    pub fn bytes(self, section: &Section, mode: KeyMode) -> u64 {
        let tag = if section.start == 0 { self.tag } else { 0 };
        let wire = match self.whole {
            Some((begin, length)) if section.start > begin => length,
            _ => self.wire,
        };
        if section.has_link || mode == KeyMode::L3 || section.ip_length == 0 {
            (wire + tag).saturating_sub(section.start as u64)
        } else {
            u64::from(section.ip_length)
        }
    }
}
