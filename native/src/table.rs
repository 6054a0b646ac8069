//! The flow table: packets in, records of flows out.
//!
//! A table does no input or output and knows no clock: who feeds it says what time it is.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::dissect::{dissect, Dissected, First, Ports};
use crate::flow::{Arrival, Finish, Flow};
use crate::identity::{Ids, Key, KeyMode, Place};
use crate::names::Applications;
use crate::section::{Section, Transport};

const NS_PER_MS: u64 = 1_000_000;
/// A finished flow stays this long, for packets that come late, in ms.
const HOLD_MS: u64 = 15_000;

/// What a table is told once.
#[derive(Clone, Debug)]
pub struct Options {
    pub place: Place,
    pub mode: KeyMode,
    /// At most so many flows; beyond, those that were quiet longest leave early.
    pub max_flows: usize,
    /// So many packets of each flow are kept as they are.
    pub raw_packet_limit: u32,
    pub tcp_times: bool,
    pub ports: Ports,
    pub applications: Applications,
}

/// Counters of a table since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub packets: u64,
    pub bytes: u64,
    /// Packets in which no link or network layer was found.
    pub ignored: u64,
    pub created: u64,
    /// Flows that left early because the table was full; they are in the next batch.
    pub evicted: u64,
}

#[derive(Clone, Copy)]
struct Slot {
    hash: u64,
    index: u32,
}

const CHUNK: usize = 4096;

/// Flows by index, in pieces that never move.
#[derive(Default)]
struct Slab {
    chunks: Vec<Vec<Option<Flow>>>,
    free: Vec<u32>,
    used: usize,
}

impl Slab {
    fn insert(&mut self, flow: Flow) -> u32 {
        if let Some(index) = self.free.pop() {
            *self.slot(index) = Some(flow);
            return index;
        }
        if self.used == self.chunks.len() * CHUNK {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let index = self.used;
        self.used += 1;
        self.chunks[index / CHUNK].push(Some(flow));
        index as u32
    }

    #[inline]
    fn slot(&mut self, index: u32) -> &mut Option<Flow> {
        let index = index as usize;
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }

    #[inline]
    fn get(&self, index: u32) -> Option<&Flow> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)?.as_ref()
    }

    fn take(&mut self, index: u32) -> Option<Flow> {
        let taken = self.slot(index).take();
        if taken.is_some() {
            self.free.push(index);
        }
        taken
    }
}

/// Flows by their key.
pub struct FlowTable {
    options: Options,
    slots: HashTable<Slot>,
    flows: Slab,
    hasher: RandomState,
    dissected: Dissected,
    stats: Stats,
    hand: u32,
    /// Flows that left between two ticks.
    left: Vec<Flow>,
    last_update_ms: u64,
}

impl FlowTable {
    /// An empty table.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            slots: HashTable::new(),
            flows: Slab::default(),
            hasher: RandomState::default(),
            dissected: Dissected::default(),
            stats: Stats::default(),
            hand: 0,
            left: Vec::new(),
            last_update_ms: 0,
        }
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        self.stats
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

    /// Count one packet: `frame` as captured, `wire_length` as it was on the wire, at `now_ns` since the epoch.
    #[inline]
    pub fn packet(&mut self, frame: &[u8], wire_length: u64, now_ns: u64, first: First) {
        self.stats.packets += 1;
        self.stats.bytes += wire_length;
        let mut dissected = std::mem::take(&mut self.dissected);
        dissect(frame, first, &self.options.ports, &mut dissected);
        if dissected.sections().is_empty() {
            self.stats.ignored += 1;
        }
        let mut parent = 0;
        for section in dissected.sections() {
            parent = self.count(section, frame, wire_length, now_ns, parent);
        }
        self.dissected = dissected;
    }

    #[inline]
    fn count(&mut self, section: &Section, frame: &[u8], wire_length: u64, now_ns: u64, parent: u64) -> u64 {
        let (key, swapped) = Key::of(section, self.options.mode, parent);
        let bytes = if section.has_link || self.options.mode == KeyMode::L3 || section.ip_length == 0 {
            wire_length.saturating_sub(section.start as u64)
        } else {
            u64::from(section.ip_length)
        };
        let arrival = Arrival { section, swapped, bytes, now_ns };
        let hash = self.hasher.hash_one(key);
        let flows = &self.flows;
        let found = self.slots.find(hash, |slot| {
            slot.hash == hash && flows.get(slot.index).is_some_and(|flow| flow.key == key)
        });
        let index = match found {
            Some(slot) => slot.index,
            None => self.insert(key, hash, &arrival, parent),
        };
        let (tcp_times, raw_limit) = (self.options.tcp_times, self.options.raw_packet_limit);
        let Some(flow) = self.flows.slot(index) else { return 0 };
        flow.add(&arrival);
        if tcp_times && section.transport == Transport::Tcp {
            flow.tcp_times(&arrival);
        }
        if raw_limit > 0 {
            flow.keep_raw(&arrival, &frame[section.start.min(frame.len())..], raw_limit);
        }
        flow.ids.uuid
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, key: Key, hash: u64, arrival: &Arrival<'_>, parent: u64) -> u32 {
        if self.slots.len() >= self.options.max_flows {
            self.evict();
        }
        let ids = Ids::of(arrival.section, self.options.mode, parent, arrival.now_ns / NS_PER_MS, &self.options.place);
        let application = self.options.applications.of(arrival.section);
        let index = self.flows.insert(Flow::new(key, arrival, ids, application));
        self.slots.insert_unique(hash, Slot { hash, index }, |slot| slot.hash);
        self.stats.created += 1;
        index
    }

    /// Let one flow go that was not touched since the hand last passed it.
    fn evict(&mut self) {
        for _ in 0..2 * self.flows.used + 1 {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.flows.used.max(1) as u32;
            match self.flows.slot(index) {
                Some(flow) if flow.recent => flow.recent = false,
                Some(_) => {
                    if let Some(mut flow) = self.remove(index) {
                        self.stats.evicted += 1;
                        finish_by_time(&mut flow);
                        self.left.push(flow);
                    }
                    return;
                }
                None => {}
            }
        }
    }

    fn remove(&mut self, index: u32) -> Option<Flow> {
        let hash = self.hasher.hash_one(self.flows.get(index)?.key);
        if let Ok(entry) = self.slots.find_entry(hash, |slot| slot.index == index) {
            entry.remove();
        }
        self.flows.take(index)
    }

    /// The update tick: flows that changed since the last one, and those that ended, are given to `emit`.
    ///
    /// Sets each flow's LastUpdateMetric; removes flows that have ended and those whose application times out.
    pub fn update(&mut self, now_ms: u64, mut emit: impl FnMut(&Flow)) {
        let since = std::mem::replace(&mut self.last_update_ms, now_ms);
        for mut flow in std::mem::take(&mut self.left) {
            tick(&mut flow, since, now_ms);
            emit(&flow);
        }
        for index in 0..self.flows.used as u32 {
            let timeouts = &self.options.applications;
            let Some(flow) = self.flows.slot(index) else { continue };
            let quiet_ms = now_ms.saturating_sub(flow.last_ns / NS_PER_MS);
            if flow.touched {
                tick(flow, since, now_ms);
                emit(flow);
                forget_raw(flow);
                continue;
            }
            let timed_out = timeouts.timeout_ms(flow.application).is_some_and(|limit| quiet_ms > limit);
            if timed_out {
                finish_by_time(flow);
                emit(flow);
                self.remove(index);
            } else if flow.finish != Finish::NotFinished && quiet_ms >= HOLD_MS {
                self.remove(index);
            } else {
                flow.update = Default::default();
                flow.update_start_ms = since;
                flow.update_last_ms = now_ms;
            }
        }
    }

    /// The expire tick: flows that were quiet since `before_ms` end, and are given to `emit`.
    pub fn expire(&mut self, before_ms: u64, mut emit: impl FnMut(&Flow)) {
        for index in 0..self.flows.used as u32 {
            let since = self.last_update_ms;
            let Some(flow) = self.flows.slot(index) else { continue };
            if flow.last_ns / NS_PER_MS >= before_ms {
                continue;
            }
            if flow.touched {
                let last = flow.last_ns / NS_PER_MS;
                tick(flow, since, last);
            }
            if flow.finish == Finish::NotFinished {
                finish_by_time(flow);
                emit(flow);
            }
            self.remove(index);
        }
    }

    /// End all flows and give them to `emit`; the table is empty after it.
    pub fn flush(&mut self, now_ms: u64, mut emit: impl FnMut(&Flow)) {
        for flow in std::mem::take(&mut self.left) {
            emit(&flow);
        }
        let since = self.last_update_ms;
        for index in 0..self.flows.used as u32 {
            let Some(flow) = self.flows.slot(index) else { continue };
            let unsent = flow.touched;
            if unsent {
                tick(flow, since, now_ms);
            }
            if unsent || flow.finish == Finish::NotFinished {
                finish_by_time(flow);
                emit(flow);
            }
            self.remove(index);
        }
    }

    /// Every flow as it stands, for queries of what is live.
    pub fn each(&self, mut see: impl FnMut(&Flow)) {
        for flow in self.flows.chunks.iter().flatten().flatten() {
            see(flow);
        }
    }
}

fn tick(flow: &mut Flow, since_ms: u64, now_ms: u64) {
    flow.update = flow.counters.since(flow.before);
    flow.before = flow.counters;
    flow.update_start_ms = since_ms.max(flow.start_ns / NS_PER_MS);
    flow.update_last_ms = now_ms;
    flow.touched = false;
}

fn forget_raw(flow: &mut Flow) {
    if let Some(extra) = &mut flow.extra {
        extra.raw.clear();
    }
}

fn finish_by_time(flow: &mut Flow) {
    if flow.finish == Finish::NotFinished {
        flow.finish = Finish::Timeout;
    }
}
