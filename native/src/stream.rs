//! What becomes of the bytes of a TCP connection: delivered in order, out of order, sent again, missing.
//!
//! Only ranges of sequence numbers (RFC 9293, section 3.4) are kept, no data.

use crate::section::tcp_flag;

/// Ranges that wait for a gap to be filled; with more, the first gap is taken for lost.
const MOST_WAITING: usize = 16;
/// A gap that is not filled after so long is taken for lost.
const PATIENCE_NS: u64 = 30_000_000_000;

/// Counters of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounters {
    /// Segments with data, SYN, FIN or RST that were delivered, and their bytes.
    pub packets: u64,
    pub bytes: u64,
    /// Segments that came before one that was to come earlier.
    pub out_of_order: u64,
    /// Gaps that were never filled, and their bytes.
    pub skipped: u64,
    pub skipped_bytes: u64,
    /// Segments of which nothing was new.
    pub retransmitted: u64,
    pub saw_start: bool,
    pub saw_end: bool,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    begin: u32,
    length: u32,
    time_ns: u64,
    ends: bool,
}

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    pub counters: StreamCounters,
    /// The next sequence number, once one is known.
    next: Option<u32>,
    waiting: Vec<Range>,
    newest_ns: u64,
}

/// How far `b` lies behind `a`, in the circle of sequence numbers.
fn distance(a: u32, b: u32) -> i32 {
    b.wrapping_sub(a) as i32
}

impl Stream {
    /// Take a segment with `length` bytes of data.
    pub fn segment(&mut self, flags: u8, sequence: u32, length: u32, now_ns: u64) {
        let ends = flags & (tcp_flag::FIN | tcp_flag::RST) != 0;
        let starts = flags & tcp_flag::SYN != 0;
        if !starts && !ends && length == 0 {
            return;
        }
        self.forget_old(now_ns);
        if starts {
            // SYN takes one number.
            let after = sequence.wrapping_add(1);
            if self.counters.saw_start && self.next.is_some_and(|next| distance(after, next) >= 0) {
                self.counters.retransmitted += 1;
                return;
            }
            self.counters.saw_start = true;
            self.next = Some(after);
            self.deliver(Range { begin: after, length, time_ns: now_ns, ends });
            return;
        }
        // Seen from the middle on: what came first is the beginning.
        let next = *self.next.get_or_insert(sequence);
        let range = Range { begin: sequence, length, time_ns: now_ns, ends };
        let ahead = distance(next, sequence);
        if ahead > 0 {
            if self.waiting.iter().any(|other| other.begin == sequence && other.length >= length) {
                self.counters.retransmitted += 1;
                return;
            }
            let at = self.waiting.partition_point(|other| distance(other.begin, sequence) >= 0);
            self.waiting.insert(at, range);
            if self.waiting.len() > MOST_WAITING {
                self.skip();
            }
        } else {
            self.deliver(range);
        }
        self.drain();
    }

    fn deliver(&mut self, range: Range) {
        let Some(next) = self.next else { return };
        let known = distance(range.begin, next).max(0) as u32;
        let nothing_new = known >= range.length && (range.length > 0 || known > 0);
        if nothing_new && (self.counters.saw_end || !range.ends) {
            self.counters.retransmitted += 1;
            return;
        }
        let new = range.length.saturating_sub(known);
        self.counters.packets += 1;
        self.counters.bytes += u64::from(new);
        self.counters.saw_end |= range.ends;
        if range.time_ns < self.newest_ns {
            self.counters.out_of_order += 1;
        }
        self.newest_ns = self.newest_ns.max(range.time_ns);
        self.next = Some(next.wrapping_add(new));
    }

    fn drain(&mut self) {
        while let (Some(first), Some(next)) = (self.waiting.first().copied(), self.next) {
            if distance(next, first.begin) > 0 {
                return;
            }
            self.waiting.remove(0);
            self.deliver(first);
        }
    }

    /// Take the first gap for lost.
    fn skip(&mut self) {
        if let (Some(first), Some(next)) = (self.waiting.first().copied(), self.next) {
            self.counters.skipped += 1;
            self.counters.skipped_bytes += distance(next, first.begin).max(0) as u64;
            self.next = Some(first.begin);
            self.drain();
        }
    }

    fn forget_old(&mut self, now_ns: u64) {
        while self.waiting.iter().any(|range| now_ns.saturating_sub(range.time_ns) > PATIENCE_NS) {
            self.skip();
        }
    }

    /// Nothing more will come: what waits for a gap is delivered without it.
    pub fn end(&mut self) {
        while !self.waiting.is_empty() {
            self.skip();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: u8 = tcp_flag::ACK;

    fn stream(segments: &[(u8, u32, u32)]) -> StreamCounters {
        let mut stream = Stream::default();
        for (time, (flags, sequence, length)) in (1..).zip(segments) {
            stream.segment(*flags, *sequence, *length, time);
        }
        stream.end();
        stream.counters
    }

    #[test]
    fn in_order_over_the_end_of_the_numbers() {
        let counted = stream(&[(tcp_flag::SYN, u32::MAX - 5, 0), (DATA, u32::MAX - 4, 10), (tcp_flag::FIN, 5, 0)]);
        let expected = StreamCounters { packets: 3, bytes: 10, saw_start: true, saw_end: true, ..Default::default() };
        assert_eq!(counted, expected);
    }

    #[test]
    fn out_of_order_sent_again_and_lost() {
        let late = stream(&[(tcp_flag::SYN, 0, 0), (DATA, 11, 10), (DATA, 1, 10)]);
        assert_eq!((late.packets, late.bytes, late.out_of_order, late.skipped), (3, 20, 1, 0));
        let again = stream(&[(tcp_flag::SYN, 0, 0), (DATA, 1, 10), (DATA, 1, 10), (DATA, 6, 10)]);
        assert_eq!((again.packets, again.bytes, again.retransmitted), (3, 15, 1));
        let lost = stream(&[(tcp_flag::SYN, 0, 0), (DATA, 101, 10)]);
        assert_eq!((lost.packets, lost.bytes, lost.skipped, lost.skipped_bytes), (2, 10, 1, 100));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut stream = Stream::default();
        stream.segment(tcp_flag::SYN, 0, 0, 1);
        for at in 1..1000 {
            stream.segment(DATA, at * 20, 10, u64::from(at));
            assert!(stream.waiting.len() <= MOST_WAITING);
        }
    }
}
