//! Flows by index, in pieces that never move: growing costs no copy and no moment of double memory.

use crate::flow::Flow;

const CHUNK: usize = 4096;

#[derive(Default)]
pub struct Slab {
    chunks: Vec<Vec<Option<Flow>>>,
    free: Vec<u32>,
    used: usize,
}

impl Slab {
    /// Indexes below this one have been in use.
    pub fn used(&self) -> u32 {
        self.used as u32
    }

    pub fn insert(&mut self, flow: Flow) -> u32 {
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

    /// The place of an index below `used`.
    #[inline]
    pub fn slot(&mut self, index: u32) -> &mut Option<Flow> {
        let index = index as usize;
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }

    #[inline]
    pub fn get(&self, index: u32) -> Option<&Flow> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)?.as_ref()
    }

    pub fn take(&mut self, index: u32) -> Option<Flow> {
        let taken = self.slot(index).take();
        if taken.is_some() {
            self.free.push(index);
        }
        taken
    }

    pub fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.chunks.iter().flatten().flatten()
    }
}
