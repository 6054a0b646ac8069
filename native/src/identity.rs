//! Which flow a section belongs to: the table's key, and the tracking ids that agree between places of capture.
//!
//! The ids are XXH64 (Yann Collet's specification, seed 0) over the ends of the conversation in a fixed order; the feed
//! is that of Skydive's flow identity, so that ids of IPv4 conversations are the same as its.

use std::hash::{Hash, Hasher};

use xxhash_rust::xxh64::Xxh64;

use crate::section::{IcmpKind, Ip, Section, Transport};

/// Which addresses make a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeyMode {
    /// MAC addresses count, where there are any.
    #[default]
    L2,
    /// Only network addresses, where there are any.
    L3,
}

/// What tells one flow from another within a table.  Ends stand in a fixed order, so that both directions have one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    pub addresses: [[u8; 16]; 2],
    pub macs: [[u8; 6]; 2],
    pub ports: [u16; 2],
    pub vlans: u64,
    /// The flow that carries this one in a tunnel; 0 when there is none.
    pub parent: u64,
    pub network_id: u32,
    pub icmp: u32,
    pub ip: Ip,
    pub transport: Transport,
    pub has_link: bool,
    pub has_icmp: bool,
    pub udp_tunnel: bool,
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [low, high] = self.addresses;
        state.write_u128(u128::from_le_bytes(low));
        state.write_u128(u128::from_le_bytes(high));
        let [a, b] = self.macs;
        state.write_u64(mac_number(a) ^ (u64::from(self.ports[0]) << 48));
        state.write_u64(mac_number(b) ^ (u64::from(self.ports[1]) << 48));
        state.write_u64(self.vlans ^ ((self.ip as u64) << 60));
        state.write_u64(self.parent ^ ((self.transport as u64) << 60));
        state.write_u64((u64::from(self.network_id) << 32) ^ u64::from(self.icmp));
    }
}

#[inline]
fn mac_number(mac: [u8; 6]) -> u64 {
    u64::from_le_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 0])
}

/// Whether source and destination change places to stand in the fixed order.
#[inline]
fn swapped(section: &Section, mode: KeyMode) -> bool {
    let by_link = section.has_link && (mode == KeyMode::L2 || section.ip == Ip::None);
    if by_link && section.mac_source != section.mac_destination {
        return section.mac_source > section.mac_destination;
    }
    if section.source != section.destination {
        return section.source > section.destination;
    }
    section.source_port > section.destination_port
}

impl Key {
    /// The key of a section, and whether the section's source is the second end.
    #[inline]
    pub fn of(section: &Section, mode: KeyMode, parent: u64) -> (Self, bool) {
        let swap = swapped(section, mode);
        let link = section.has_link && (mode == KeyMode::L2 || section.ip == Ip::None);
        let none = [0; 6];
        let macs = if link { [section.mac_source, section.mac_destination] } else { [none, none] };
        let ports = if section.udp_tunnel {
            [section.destination_port, section.destination_port]
        } else {
            [section.source_port, section.destination_port]
        };
        let order = |swap: bool| if swap { [1, 0] } else { [0, 1] };
        let [first, second] = order(swap);
        let addresses = [section.source, section.destination];
        let key = Self {
            addresses: [addresses[first], addresses[second]],
            macs: [macs[first], macs[second]],
            ports: [ports[first], ports[second]],
            vlans: section.vlans,
            parent,
            network_id: section.network_id,
            icmp: if section.has_icmp { icmp_number(section) } else { 0 },
            ip: section.ip,
            transport: section.transport,
            has_link: section.has_link,
            has_icmp: section.has_icmp,
            udp_tunnel: section.udp_tunnel,
        };
        (key, swap)
    }
}

#[inline]
fn icmp_number(section: &Section) -> u32 {
    let kind = (section.icmp_kind as u32) << 24;
    if section.ip == Ip::V6 && section.icmp_kind == IcmpKind::Echo {
        return kind | u32::from(section.icmp_id);
    }
    kind | u32::from(section.icmp_code) << 16 | u32::from(section.icmp_id)
}

/// The ids of a new flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ids {
    pub tracking: u64,
    pub l3_tracking: u64,
    pub uuid: u64,
}

// Endpoint types of the feed: those of gopacket for IP, MAC and ports; 0 for what has none there.
const KIND_IPV4: u64 = 1;
const KIND_IPV6: u64 = 2;
const KIND_MAC: u64 = 3;
const KIND_OTHER: u64 = 0;

/// Where a flow was seen; part of its UUID.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub node_tid: String,
    pub capture_id: String,
}

impl Ids {
    /// Compute the ids of a flow that begins with this section at `start_ms`.
    pub fn of(section: &Section, mode: KeyMode, parent: u64, start_ms: u64, place: &Place) -> Self {
        let swap = swapped(section, mode);
        let mut hash = Xxh64::new(0);
        match section.ip {
            Ip::None => {}
            Ip::V4 => feed(&mut hash, &section.source[..4], &section.destination[..4], swap, KIND_IPV4),
            Ip::V6 => feed(&mut hash, &section.source, &section.destination, swap, KIND_IPV6),
        }
        if section.udp_tunnel {
            let (vni, port) = (section.network_id.to_be_bytes(), section.destination_port.to_be_bytes());
            feed(&mut hash, &vni, &port, false, KIND_OTHER);
        } else if section.transport != Transport::None {
            let (source, destination) = (section.source_port.to_be_bytes(), section.destination_port.to_be_bytes());
            feed(&mut hash, &source, &destination, swap, section.transport as u64);
        }
        if section.has_icmp {
            feed(&mut hash, &icmp_number(section).to_be_bytes(), &[], false, KIND_OTHER);
        }
        let l3_tracking = hash.digest();
        let by_link = section.has_link && (mode == KeyMode::L2 || section.ip == Ip::None);
        if by_link {
            feed(&mut hash, &section.mac_source, &section.mac_destination, swap, KIND_MAC);
        }
        let tracking = hash.digest();
        if parent != 0 {
            hash.update(format!("{parent:x}").as_bytes());
        }
        hash.update(&section.vlans.to_be_bytes());
        hash.update(&section.network_id.to_be_bytes());
        let mut unique = Xxh64::new(hash.digest());
        unique.update(&start_ms.to_be_bytes());
        unique.update(place.node_tid.as_bytes());
        unique.update(b"/");
        unique.update(place.capture_id.as_bytes());
        // Zero stands for "no parent".
        Self { tracking, l3_tracking, uuid: unique.digest().max(1) }
    }
}

fn feed(hash: &mut Xxh64, source: &[u8], destination: &[u8], swap: bool, kind: u64) {
    let (first, second) = if swap { (destination, source) } else { (source, destination) };
    hash.update(first);
    hash.update(second);
    hash.update(&kind.to_be_bytes());
}
