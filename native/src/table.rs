//! The flow table: packets in, records of flows out.
//!
//! A table does no input or output and knows no clock: who feeds it says what time it is.

use std::hash::BuildHasher;
use std::hint::black_box;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::application;
use crate::defrag::{Defragmenter, Outcome, Pieces};
use crate::dissect::{dissect, Dissected, Fragment};
use crate::extent::Extent;
use crate::flow::{Arrival, Flow};
use crate::identity::{Ids, Key};
use crate::options::{Options, Stats};
use crate::packet::{with_tag, Packet, BATCH};
use crate::section::{Section, Transport};
use crate::slab::Slab;

pub(crate) const NS_PER_MS: u64 = 1_000_000;
/// Fragments in fragments in fragments: no tunnel needs more.
const MOST_REASSEMBLIES: usize = 4;
/// No flow has this index.
const NONE: u32 = u32::MAX;

/// Where a flow is found.  Half of the hash is enough to tell slots apart; the flow's key decides.
#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    index: u32,
}

impl Slot {
    /// All 64 bits that the hash table wants (the golden ratio spreads the 32 that are kept).
    #[inline]
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// A packet of the batch at hand, whose outermost flow is looked for.
struct Pending {
    packet: usize,
    sections: std::ops::Range<usize>,
    fragment: Option<Fragment>,
    known: Known,
}

/// What is known of a section's flow before it is counted.
struct Known {
    key: Key,
    swapped: bool,
    hash: u32,
    /// A flow that has this hash, and probably is it.
    candidate: u32,
}

/// Flows by their key.
pub struct FlowTable {
    pub(crate) options: Options,
    slots: HashTable<Slot>,
    pub(crate) flows: Slab,
    hasher: RandomState,
    dissected: Dissected,
    pending: Vec<Pending>,
    pub(crate) defragmenter: Option<Defragmenter>,
    pub(crate) stats: Stats,
    sampled: u32,
    hand: u32,
    /// Flows that left between two ticks.
    pub(crate) left: Vec<Flow>,
    pub(crate) last_update_ms: u64,
    pub(crate) last_expire_ms: u64,
    /// The tick before the update that is under way, and where it goes on.
    pub(crate) unfinished_update: Option<(u64, u32)>,
    /// The tick before the expire that is under way, and where it goes on.
    pub(crate) unfinished_expire: Option<(u64, u32)>,
}

impl FlowTable {
    /// An empty table.
    pub fn new(options: Options) -> Self {
        let defragmenter = (options.defragment_bytes > 0).then(|| Defragmenter::new(options.defragment_bytes));
        Self {
            options,
            slots: HashTable::new(),
            flows: Slab::default(),
            hasher: RandomState::default(),
            dissected: Dissected::default(),
            pending: Vec::with_capacity(BATCH),
            defragmenter,
            stats: Stats::default(),
            sampled: 0,
            hand: 0,
            left: Vec::new(),
            last_update_ms: 0,
            last_expire_ms: 0,
            unfinished_update: None,
            unfinished_expire: None,
        }
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        let lost = self.defragmenter.as_ref().map_or(0, |defragmenter| defragmenter.lost);
        Stats { fragments_lost: lost, ..self.stats }
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no flow.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Count packets in their order.
    pub fn packets(&mut self, packets: &[Packet<'_>]) {
        for batch in packets.chunks(BATCH) {
            self.batch(batch);
        }
    }

    // In four passes, because a flow is seldom in the processor's caches: the passes in the middle start the loads of
    // all flows of the batch at once, instead of waiting for one after the other.
    fn batch(&mut self, batch: &[Packet<'_>]) {
        let mut dissected = std::mem::take(&mut self.dissected);
        let mut pending = std::mem::take(&mut self.pending);
        dissected.sections.clear();
        pending.clear();
        for (number, packet) in batch.iter().enumerate() {
            if let Some(packet) = self.accepted(packet) {
                self.dissected(number, &packet, &mut dissected, &mut pending);
            }
        }
        for one in &mut pending {
            let hash = one.known.hash;
            let found = self.slots.find(Slot::spread(hash), |slot| slot.hash == hash);
            one.known.candidate = found.map_or(NONE, |slot| slot.index);
        }
        let touched = pending
            .iter()
            .filter_map(|one| self.flows.get(one.known.candidate))
            .fold(0, |sum, flow| sum ^ flow.touch());
        black_box(touched);
        for one in &pending {
            let packet = self.limited(&batch[one.packet]);
            let sections = &dissected.sections[one.sections.clone()];
            match one.fragment {
                Some(fragment) if self.defragmenter.is_some() => {
                    self.fragment(&packet, sections, fragment, Extent::of(&packet), &mut Vec::new());
                }
                _ => {
                    self.sections(&packet, sections, Some(&one.known), Extent::of(&packet), 0);
                }
            }
        }
        self.dissected = dissected;
        self.pending = pending;
    }

    /// Count a packet as received; None when sampling leaves it out.
    #[inline]
    fn accepted<'a>(&mut self, packet: &Packet<'a>) -> Option<Packet<'a>> {
        let packet = self.limited(packet);
        self.stats.packets += 1;
        self.stats.bytes += packet.wire_length;
        if self.options.sampling > 1 {
            self.sampled += 1;
            if self.sampled < self.options.sampling {
                self.stats.sampled_out += 1;
                return None;
            }
            self.sampled = 0;
        }
        Some(packet)
    }

    /// The packet as far as the capture is to see it.
    #[inline]
    fn limited<'a>(&self, packet: &Packet<'a>) -> Packet<'a> {
        Packet {
            frame: packet.frame.get(..self.options.header_size).unwrap_or(packet.frame),
            // No source tells longer ones; so sums cannot overflow.
            wire_length: packet.wire_length.min(u64::from(u32::MAX)),
            ..*packet
        }
    }

    #[inline]
    fn dissected(&mut self, number: usize, packet: &Packet<'_>, dissected: &mut Dissected, pending: &mut Vec<Pending>) {
        let begin = dissected.sections.len();
        dissect(packet, &self.options.ports, &[], dissected);
        let Some(first) = dissected.sections.get(begin) else {
            self.stats.ignored += 1;
            return;
        };
        let known = self.known(first, 0);
        let sections = begin..dissected.sections.len();
        pending.push(Pending { packet: number, sections, fragment: dissected.fragment, known });
    }

    #[inline]
    fn known(&self, section: &Section, parent: u64) -> Known {
        let (key, swapped) = Key::of(section, self.options.mode, parent);
        Known { key, swapped, hash: self.hash(&key), candidate: NONE }
    }

    #[inline]
    fn hash(&self, key: &Key) -> u32 {
        (self.hasher.hash_one(key) >> 32) as u32
    }

    /// Count the sections of a packet, the first in the given parent; returns the UUID of the last.
    #[inline]
    fn sections(
        &mut self,
        packet: &Packet<'_>,
        sections: &[Section],
        first: Option<&Known>,
        extent: Extent,
        parent: u64,
    ) -> u64 {
        let mut parent = parent;
        let mut first = first;
        for section in sections {
            parent = match first.take() {
                Some(known) => self.count(packet, section, known, extent, Pieces::default()),
                None => self.count(packet, section, &self.known(section, parent), extent, Pieces::default()),
            };
        }
        parent
    }

    #[inline]
    fn count(&mut self, packet: &Packet<'_>, section: &Section, known: &Known, extent: Extent, pieces: Pieces) -> u64 {
        let arrival = Arrival {
            section,
            swapped: known.swapped,
            bytes: extent.bytes(section, self.options.mode),
            now_ns: packet.time_ns,
        };
        let index = match self.flows.get(known.candidate) {
            Some(flow) if flow.key == known.key => known.candidate,
            _ => match self.find(known) {
                Some(index) => index,
                None => self.insert(known, &arrival),
            },
        };
        let Some(flow) = self.flows.slot(index) else { return 0 };
        flow.add(&arrival);
        if self.options.looks_closer {
            look_closer(&self.options, flow, &arrival, packet, pieces);
        }
        flow.ids.uuid
    }

    #[inline]
    fn find(&self, known: &Known) -> Option<u32> {
        let found = self.slots.find(Slot::spread(known.hash), |slot| {
            slot.hash == known.hash && self.flows.get(slot.index).is_some_and(|flow| flow.key == known.key)
        });
        found.map(|slot| slot.index)
    }

    /// The flow of a key.
    pub(crate) fn flow_of(&mut self, key: &Key) -> Option<&mut Flow> {
        let known = Known { key: *key, swapped: false, hash: self.hash(key), candidate: NONE };
        let index = self.find(&known)?;
        self.flows.slot(index).as_mut()
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, known: &Known, arrival: &Arrival<'_>) -> u32 {
        let start_ms = arrival.now_ns / NS_PER_MS;
        let ids = Ids::of(arrival.section, self.options.mode, known.key.parent, start_ms, &self.options.place);
        let application = self.options.applications.of(arrival.section);
        self.place(Flow::new(known.key, arrival, ids, application), known.hash)
    }

    /// Put in a flow that is not there yet.
    pub(crate) fn put(&mut self, flow: Flow) {
        let hash = self.hash(&flow.key);
        self.place(flow, hash);
    }

    fn place(&mut self, flow: Flow, hash: u32) -> u32 {
        if self.slots.len() >= self.options.max_flows {
            self.evict();
        }
        let index = self.flows.insert(flow);
        self.slots.insert_unique(Slot::spread(hash), Slot { hash, index }, |slot| Slot::spread(slot.hash));
        self.stats.created += 1;
        index
    }

    /// Let one flow go that was not touched since the hand last passed it.
    fn evict(&mut self) {
        let used = self.flows.used();
        for _ in 0..2 * u64::from(used) + 1 {
            let index = self.hand;
            self.hand = (self.hand + 1) % used.max(1);
            match self.flows.slot(index) {
                Some(flow) if flow.recent => flow.recent = false,
                Some(_) => {
                    if let Some(mut flow) = self.remove(index) {
                        self.stats.evicted += 1;
                        flow.finish_by_time();
                        if self.left.len() < self.options.most_left() {
                            self.left.push(flow);
                        } else {
                            self.stats.lost += 1;
                        }
                    }
                    return;
                }
                None => {}
            }
        }
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<Flow> {
        let hash = self.hash(&self.flows.get(index)?.key);
        if let Ok(entry) = self.slots.find_entry(Slot::spread(hash), |slot| slot.index == index) {
            entry.remove();
        }
        self.flows.take(index)
    }

    /// Count a packet that ends with a fragment: the flows around it at once, its own when its datagram is whole.
    #[cold]
    fn fragment(
        &mut self,
        packet: &Packet<'_>,
        sections: &[Section],
        at: Fragment,
        extent: Extent,
        whole: &mut Vec<usize>,
    ) {
        let Some((last, outer)) = sections.split_last() else { return };
        let parent = self.sections(packet, outer, None, extent, 0);
        self.inner_fragment(packet, last, outer.len(), at, extent, whole, parent);
    }

    #[allow(clippy::too_many_arguments)]
    fn inner_fragment(
        &mut self,
        packet: &Packet<'_>,
        section: &Section,
        depth: usize,
        at: Fragment,
        extent: Extent,
        whole: &mut Vec<usize>,
        parent: u64,
    ) {
        let Some(defragmenter) = &mut self.defragmenter else { return };
        let outcome = match whole.len() {
            MOST_REASSEMBLIES.. => Outcome::Refused,
            _ => defragmenter.add(packet.frame, section, at, parent, packet.time_ns),
        };
        let (bytes, pieces) = match outcome {
            Outcome::Held => {
                self.stats.fragments_held += 1;
                return;
            }
            Outcome::Refused => {
                self.stats.fragments_refused += 1;
                self.sections(packet, std::slice::from_ref(section), None, extent, parent);
                return;
            }
            Outcome::Whole(bytes, pieces) => (bytes, pieces),
        };
        whole.push(at.header);
        let joined = Packet { frame: &bytes, wire_length: bytes.len() as u64, ..*packet };
        let extent = extent.within(at.header, joined.wire_length);
        let mut found = Dissected::default();
        dissect(&joined, &self.options.ports, whole, &mut found);
        let Some((section, inner)) = found.sections.get(depth..).and_then(|rest| rest.split_first()) else { return };
        if let (Some(next), []) = (found.fragment, inner) {
            return self.inner_fragment(&joined, section, depth, next, extent, whole, parent);
        }
        let parent = self.count(&joined, section, &self.known(section, parent), extent, pieces);
        match (found.fragment, inner.split_last()) {
            (Some(next), Some((last, between))) => {
                let parent = self.sections(&joined, between, None, extent, parent);
                self.inner_fragment(&joined, last, depth + inner.len(), next, extent, whole, parent);
            }
            _ => {
                self.sections(&joined, inner, None, extent, parent);
            }
        }
    }
}

/// What only some captures ask for.
fn look_closer(options: &Options, flow: &mut Flow, arrival: &Arrival<'_>, packet: &Packet<'_>, pieces: Pieces) {
    let section = arrival.section;
    if section.transport == Transport::Tcp {
        if options.tcp_times || options.reassemble_tcp {
            flow.tcp_times(arrival);
        }
        if options.reassemble_tcp {
            flow.tcp_segment(arrival);
        }
    }
    if pieces != Pieces::default() {
        flow.count_pieces(pieces);
    }
    if options.extra_layers != 0 && application::may_hold(section) {
        if let Some(found) = application::look(section, packet.frame, options.extra_layers) {
            flow.keep_found(found, arrival.now_ns);
        }
    }
    if options.raw_packet_limit > 0 {
        let tagged = if section.start == 0 { with_tag(packet) } else { None };
        let bytes = tagged.as_deref().unwrap_or_else(|| packet.frame.get(section.start..).unwrap_or(&[]));
        flow.keep_raw(arrival, bytes, options.raw_packet_limit);
    }
}
