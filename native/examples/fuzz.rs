//! Throws damaged packets and files at the table, and says how many it took.
//!
//! `cargo run --profile fuzz --no-default-features --example fuzz -- FOLDER SECONDS [SEED]`: the corpus are the `*.pcap`
//! files of the folder.  Overflow checks and debug assertions are on; a panic ends the run with its seed printed before.
//! What cannot fail by a panic is checked besides: totals of flows and packets agree.

use std::time::{Duration, Instant};

use _native::counted::{Counted, Operation};
use _native::dissect::First;
use _native::options::Options;
use _native::packet::Packet;
use _native::pcap::Reader;
use _native::query::Filter;
use _native::record;
use _native::table::FlowTable;
use _native::tpacket;

/// xorshift64* (Vigna): reproducible, and nothing to install.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Damage bytes: flip, overwrite with telling values, cut, repeat, and splice with another.
    fn damage(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        const TELLING: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 4, 6, 17];
        for _ in 0..1 + self.below(8) {
            let at = self.below(bytes.len());
            match self.below(8) {
                0..=2 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                3 if !bytes.is_empty() => bytes[at] = TELLING[self.below(TELLING.len())],
                4 if !bytes.is_empty() => bytes[at] = self.next() as u8,
                5 => bytes.truncate(at),
                6 => {
                    let end = (at + self.below(64)).min(bytes.len());
                    let piece = bytes[at.min(end)..end].to_vec();
                    bytes.splice(at.min(end)..at.min(end), piece);
                }
                _ => {
                    let from = self.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
            }
        }
    }
}

fn options(chance: &mut Chance) -> Options {
    Options {
        max_flows: 1 + chance.below(50),
        raw_packet_limit: chance.below(3) as u32,
        header_size: if chance.below(4) == 0 { 64 } else { usize::MAX },
        tcp_times: chance.below(2) == 0,
        reassemble_tcp: chance.below(2) == 0,
        defragment_bytes: [0, 1000, 1 << 20][chance.below(3)],
        extra_layers: chance.next() as u8,
        ..Options::default()
    }
    .ready()
}

/// Every flow is written, and the counters of outermost flows do not exceed what came in.
fn check(table: &mut FlowTable) {
    let (mut out, mut packets) = (Vec::new(), 0);
    let options = table.options().clone();
    table.flush(u64::MAX / 1_000_000, |flow| {
        record::write(flow, &options, &mut out);
        if flow.key.parent == 0 {
            packets += flow.counters.ab_packets + flow.counters.ba_packets;
        }
    });
    assert!(table.is_empty());
    assert!(packets <= table.stats().packets, "more packets in flows than came in");
    for line in out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok(), "a record is no JSON");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, seconds, rest @ ..] = &arguments[..] else {
        eprintln!("usage: fuzz FOLDER SECONDS [SEED]");
        std::process::exit(2);
    };
    let seed = rest.first().and_then(|text| text.parse().ok()).unwrap_or(1_u64);
    let end = Instant::now() + Duration::from_secs(seconds.parse().expect("SECONDS is a number"));
    let mut files: Vec<Vec<u8>> = Vec::new();
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("FOLDER can be read").flatten().map(|file| file.path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|suffix| suffix == "pcap")) {
        files.push(std::fs::read(path).expect("the corpus can be read"));
    }
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for file in &files {
        let mut reader = Reader::default();
        let _ = reader.feed(file, |packets| frames.extend(packets.iter().map(|packet| packet.frame.to_vec())));
    }
    assert!(!frames.is_empty(), "no packets in {folder}");
    println!("seed {seed}, corpus: {} files, {} packets", files.len(), frames.len());
    let mut chance = Chance(seed.max(1));
    let (mut packets, mut whole_files, mut blocks, mut texts) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut matched = 0;
    let firsts = [First::Ethernet, First::Ethernet, First::Network, First::Cooked, First::Cooked2, First::Family];
    let record = br#"{"Network":{"A":"10.0.0.1","B":"10.0.0.2"},"Transport":{"Protocol":"TCP","A":1,"B":2},"Metric":{"ABPackets":1},"Start":1,"Last":2}"#;
    let filter = br#"{"any":[{"equals":{"key":"Network","value":"10.0.0.1"}},{"matches":{"key":"DNS.questions.name","pattern":"a+.*"}},{"in_network":{"key":"Network.A","network":"10.0.0.0/8"}}]}"#;
    while Instant::now() < end {
        let mut table = FlowTable::new(options(&mut chance));
        let mut clock = 1_700_000_000_000_000_000;
        for _ in 0..200 {
            let mut frame = frames[chance.below(frames.len())].clone();
            let other = &frames[chance.below(frames.len())];
            chance.damage(&mut frame, other);
            clock += chance.next() % 1_000_000_000;
            let wire_length = if chance.below(8) == 0 { chance.next() } else { frame.len() as u64 };
            let first = firsts[chance.below(firsts.len())];
            let tag = (chance.below(4) == 0).then(|| (0x8100, chance.next() as u16));
            table.packets(&[Packet { frame: &frame, wire_length, time_ns: clock, first, tag }]);
            packets += 1;
        }
        let mut text = filter.to_vec();
        chance.damage(&mut text, filter);
        if let Ok(parsed) = Filter::parse(&text) {
            matched += table.each().filter(|flow| parsed.holds(flow, table.options())).count();
        }
        let mut text = record.to_vec();
        chance.damage(&mut text, record);
        let counted = Counted::parse(&text);
        texts += 2;
        while table.update(clock / 1_000_000, 7, |_| ()) {}
        while table.expire(clock / 1_000_000, 5, |_| ()) {}
        check(&mut table);
        if let Ok(counted) = counted {
            table.record(&counted, Operation::Update);
        }
        let mut file = files[chance.below(files.len())].clone();
        let other = files[chance.below(files.len())].clone();
        chance.damage(&mut file, &other);
        let mut table = FlowTable::new(options(&mut chance));
        let mut reader = Reader::default();
        for piece in file.chunks(1 + chance.below(2000)) {
            if reader.feed(piece, |packets| table.packets(packets)).is_err() {
                break;
            }
        }
        check(&mut table);
        whole_files += 1;
        let at = chance.below(file.len().max(1));
        let _ = tpacket::each(&file[at.min(file.len())..], First::Ethernet, |packets| table.packets(packets));
        blocks += 1;
    }
    println!("executions: {packets} packets, {whole_files} files, {blocks} ring blocks, {texts} filters and records ({matched} matches); no fault");
}
