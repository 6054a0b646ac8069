//! Fragments of IP packets, put together again (RFC 791, section 3.2; RFC 8200, section 4.5).
//!
//! What is kept is bounded in bytes, in datagrams and in time; beyond, the oldest datagram is given up.

use std::collections::{HashMap, VecDeque};

use crate::dissect::Fragment;
use crate::section::Section;

/// A datagram that is not complete after so long is given up.
const PATIENCE_NS: u64 = 30_000_000_000;
/// The longest IP packet.
const LONGEST: usize = 65_535;
/// What a held fragment costs besides its data, in bytes.
const OVERHEAD: usize = 128;
/// No honest datagram comes in more pieces: 65535 bytes in pieces of 8 would be 8192.
const MOST_PIECES: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Name {
    source: [u8; 16],
    destination: [u8; 16],
    vlans: u64,
    /// The flow that carries it in a tunnel.
    parent: u64,
    identification: u32,
    protocol: u8,
}

struct Piece {
    offset: usize,
    data: Box<[u8]>,
}

struct Datagram {
    began_ns: u64,
    serial: u64,
    pieces: Vec<Piece>,
    /// Known once the last fragment came.
    length: Option<usize>,
    bytes: usize,
    errors: u32,
}

/// How a datagram came together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// Fragments that were held before the one that completed it.
    pub held: u32,
    /// Fragments of it that contradicted others, or came twice.
    pub errors: u32,
}

/// What became of a fragment.
pub enum Outcome {
    Held,
    /// It contradicts others, was cut by the capture, or there is no room.
    Refused,
    /// The frame with a whole datagram in place of the fragment.
    Whole(Vec<u8>, Pieces),
}

/// Holds fragments until their datagrams are whole.
pub struct Defragmenter {
    datagrams: HashMap<Name, Datagram>,
    /// In the order of their beginnings; those that are gone stay here until they are first.
    order: VecDeque<(Name, u64)>,
    serial: u64,
    bytes: usize,
    most_bytes: usize,
    /// Fragments that were given up with their datagrams.
    pub lost: u64,
}

impl Defragmenter {
    /// One that holds at most so many bytes.
    pub fn new(most_bytes: usize) -> Self {
        Self { datagrams: HashMap::new(), order: VecDeque::new(), serial: 0, bytes: 0, most_bytes, lost: 0 }
    }

    /// How many bytes of fragments are held.
    pub fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Take a fragment of the given frame; `parent` is the flow that carries it in a tunnel.
    pub fn add(&mut self, frame: &[u8], section: &Section, at: Fragment, parent: u64, now_ns: u64) -> Outcome {
        self.give_up(now_ns);
        // A fragment that the capture cut cannot be put together.
        let Some(data) = frame.get(at.data..at.end) else { return Outcome::Refused };
        let end = at.offset + data.len();
        if data.is_empty() || end > LONGEST || (at.more && data.len() % 8 != 0) {
            return Outcome::Refused;
        }
        let name = Name {
            source: section.source,
            destination: section.destination,
            vlans: section.vlans,
            parent,
            identification: at.identification,
            protocol: at.protocol,
        };
        if !self.datagrams.contains_key(&name) {
            self.serial += 1;
            self.order.push_back((name, self.serial));
        }
        let serial = self.serial;
        let datagram = self.datagrams.entry(name).or_insert_with(|| Datagram {
            began_ns: now_ns,
            serial,
            pieces: Vec::new(),
            length: None,
            bytes: 0,
            errors: 0,
        });
        if !datagram.takes(at.offset, end, at.more) {
            datagram.errors += 1;
            return Outcome::Refused;
        }
        datagram.pieces.push(Piece { offset: at.offset, data: data.into() });
        datagram.bytes += data.len();
        self.bytes += data.len() + OVERHEAD;
        if !at.more {
            datagram.length = Some(end);
        }
        if datagram.length != Some(datagram.bytes) {
            self.make_room();
            return Outcome::Held;
        }
        match self.remove(&name) {
            Some(whole) => {
                let pieces = Pieces { held: whole.pieces.len() as u32 - 1, errors: whole.errors };
                Outcome::Whole(assemble(frame, at, whole), pieces)
            }
            None => Outcome::Refused,
        }
    }

    fn remove(&mut self, name: &Name) -> Option<Datagram> {
        let gone = self.datagrams.remove(name)?;
        self.bytes -= gone.bytes + gone.pieces.len() * OVERHEAD;
        Some(gone)
    }

    fn give_up(&mut self, now_ns: u64) {
        while let Some((name, serial)) = self.order.front().copied() {
            match self.datagrams.get(&name) {
                Some(datagram) if datagram.serial == serial => {
                    if now_ns.saturating_sub(datagram.began_ns) < PATIENCE_NS {
                        return;
                    }
                    self.lose_oldest();
                }
                _ => {
                    self.order.pop_front();
                }
            }
        }
    }

    fn make_room(&mut self) {
        while self.bytes > self.most_bytes && !self.order.is_empty() {
            self.lose_oldest();
        }
    }

    fn lose_oldest(&mut self) {
        let Some((name, serial)) = self.order.pop_front() else { return };
        if self.datagrams.get(&name).is_some_and(|datagram| datagram.serial == serial) {
            if let Some(gone) = self.remove(&name) {
                self.lost += gone.pieces.len() as u64;
            }
        }
    }
}

impl Datagram {
    /// Whether these bytes are new and agree with what is there (RFC 5722: overlaps are an attack).
    fn takes(&self, offset: usize, end: usize, more: bool) -> bool {
        let fits = match self.length {
            Some(length) => end <= length && (more || end == length),
            None => more || self.pieces.iter().all(|piece| piece.offset + piece.data.len() <= end),
        };
        fits && self.pieces.len() < MOST_PIECES
            && self.pieces.iter().all(|piece| end <= piece.offset || piece.offset + piece.data.len() <= offset)
    }
}

/// The last fragment's headers before the whole datagram.
fn assemble(frame: &[u8], at: Fragment, whole: Datagram) -> Vec<u8> {
    let mut out = frame[..at.data].to_vec();
    out.resize(at.data + whole.bytes, 0);
    for piece in &whole.pieces {
        let begin = at.data + piece.offset;
        out[begin..begin + piece.data.len()].copy_from_slice(&piece.data);
    }
    let length = |size: usize| u16::try_from(size).unwrap_or(0).to_be_bytes();
    if at.extension == 0 {
        // IPv4: total length; flags and offset.
        let total = length(out.len() - at.header);
        out[at.header + 2..at.header + 4].copy_from_slice(&total);
        out[at.header + 6..at.header + 8].fill(0);
    } else {
        // IPv6: payload length; now an atomic fragment, which is a whole packet (RFC 6946).
        let total = length(out.len() - at.header - 40);
        out[at.header + 4..at.header + 6].copy_from_slice(&total);
        out[at.extension + 2..at.extension + 4].fill(0);
    }
    out
}
