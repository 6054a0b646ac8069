//! Capture files, read in place: classic pcap and pcapng, in pieces of any size.
//!
//! Formats: the drafts draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.

use crate::dissect::First;
use crate::packet::{Batcher, Packet};

/// Why a file cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// Offset of the fault in the whole stream.
    pub offset: u64,
    pub reason: String,
}

#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let raw = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        if self.big {
            u16::from_be_bytes(raw)
        } else {
            u16::from_le_bytes(raw)
        }
    }

    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let raw = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        if self.big {
            u32::from_be_bytes(raw)
        } else {
            u32::from_le_bytes(raw)
        }
    }

    fn u64(self, bytes: &[u8], at: usize) -> u64 {
        let raw = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        if self.big {
            u64::from_be_bytes(raw)
        } else {
            u64::from_le_bytes(raw)
        }
    }
}

#[derive(Clone, Copy)]
struct Interface {
    first: Option<First>,
    /// Units of a timestamp in a second.
    units: u64,
    offset_s: i64,
}

enum Format {
    Unknown,
    Pcap { order: Order, nanoseconds: bool, first: Option<First> },
    Pcapng { order: Order, interfaces: Vec<Interface> },
}

/// No packet of an honest file is larger (libpcap's MAXIMUM_SNAPLEN is 262144; USB captures reach 128 MiB and are no network).
const MAX_PACKET: usize = 1 << 20;
const MAX_BLOCK: usize = MAX_PACKET + (1 << 16);
const MAX_INTERFACES: usize = 4096;

/// Reads a stream of either format, told apart by its first bytes.
pub struct Reader {
    format: Format,
    /// What was read of a record that is not complete.
    rest: Vec<u8>,
    consumed: u64,
    failed: Option<FormatError>,
    tally: Tally,
    /// Packets at or after this time wait, and the time of the first that does.
    until_ns: u64,
    waiting_ns: Option<u64>,
}

/// What a reader has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// When the newest packet was seen, in ns since the epoch.
    pub newest_ns: u64,
    /// Packets of link types that are not understood, or without a time.
    pub unread: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            format: Format::Unknown,
            rest: Vec::new(),
            consumed: 0,
            failed: None,
            tally: Tally::default(),
            until_ns: u64::MAX,
            waiting_ns: None,
        }
    }
}

impl Reader {
    /// What it has seen.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Take the next piece; every packet that is complete is given to `see`, in batches.
    ///
    /// After an error nothing more is read: the packets before it were good.
    pub fn feed(&mut self, piece: &[u8], see: impl FnMut(&[Packet<'_>])) -> Result<(), FormatError> {
        self.feed_until(piece, u64::MAX, see).map(|_| ())
    }

    /// The same up to the first packet at or after `until_ns`, whose time is then returned.  It and what follows it wait:
    /// the next call, maybe with an empty piece, goes on there.
    pub fn feed_until(
        &mut self,
        piece: &[u8],
        until_ns: u64,
        see: impl FnMut(&[Packet<'_>]),
    ) -> Result<Option<u64>, FormatError> {
        self.until_ns = until_ns;
        self.waiting_ns = None;
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let joined;
        let bytes = if self.rest.is_empty() {
            piece
        } else {
            joined = [&std::mem::take(&mut self.rest)[..], piece].concat();
            &joined[..]
        };
        let mut batcher = Batcher::new(see);
        let mut at = 0;
        loop {
            match self.record(&bytes[at..], &mut batcher) {
                Ok(0) => break,
                Ok(size) => at += size,
                Err(reason) => {
                    let error = FormatError { offset: self.consumed + at as u64, reason };
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
        self.consumed += at as u64;
        self.rest = bytes[at..].to_vec();
        Ok(self.waiting_ns)
    }

    /// The stream has ended: an error when it ended within a record, or held nothing.
    pub fn end(&self) -> Result<(), FormatError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let reason = match self.format {
            Format::Unknown => "is no pcap or pcapng file: it ends within the file header",
            _ if !self.rest.is_empty() => "ends within a packet",
            _ => return Ok(()),
        };
        Err(FormatError { offset: self.consumed, reason: reason.to_string() })
    }

    /// The size of the record at the beginning of `bytes`, 0 when more bytes are needed.
    #[inline]
    fn record<'a, F: FnMut(&[Packet<'_>])>(
        &mut self,
        bytes: &'a [u8],
        batcher: &mut Batcher<'a, F>,
    ) -> Result<usize, String> {
        let (size, found) = match &mut self.format {
            Format::Unknown => (self.header(bytes)?, Found::Nothing),
            Format::Pcap { order, nanoseconds, first } => packet(bytes, *order, *nanoseconds, *first)?,
            Format::Pcapng { order, interfaces } => block(bytes, order, interfaces)?,
        };
        match found {
            Found::Nothing => {}
            Found::Unread => self.tally.unread += 1,
            Found::Packet(packet) if packet.time_ns >= self.until_ns => {
                self.waiting_ns = Some(packet.time_ns);
                return Ok(0);
            }
            Found::Packet(packet) => {
                self.tally.newest_ns = self.tally.newest_ns.max(packet.time_ns);
                batcher.push(packet);
            }
        }
        Ok(size)
    }

    fn header(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let Some(magic) = bytes.first_chunk::<4>() else { return Ok(0) };
        let (big, nanoseconds) = match *magic {
            [0xa1, 0xb2, 0xc3, 0xd4] => (true, false),
            [0xd4, 0xc3, 0xb2, 0xa1] => (false, false),
            [0xa1, 0xb2, 0x3c, 0x4d] => (true, true),
            [0x4d, 0x3c, 0xb2, 0xa1] => (false, true),
            [0x0a, 0x0d, 0x0d, 0x0a] => {
                self.format = Format::Pcapng { order: Order { big: false }, interfaces: Vec::new() };
                let Format::Pcapng { order, interfaces } = &mut self.format else { return Ok(0) };
                return block(bytes, order, interfaces).map(|(size, _)| size);
            }
            other => return Err(format!("is no pcap or pcapng file: it begins with {other:02x?}")),
        };
        if bytes.len() < 24 {
            return Ok(0);
        }
        let order = Order { big };
        // The upper bits say how long the frame check sequence is.
        let link_type = order.u32(bytes, 20) & 0x0fff_ffff;
        let first = First::of_link_type(link_type);
        if first.is_none() {
            return Err(format!("has link type {link_type}, which is not understood"));
        }
        self.format = Format::Pcap { order, nanoseconds, first };
        Ok(24)
    }
}

/// What a record held.
enum Found<'a> {
    Nothing,
    Unread,
    Packet(Packet<'a>),
}

/// One record of the classic format.
#[inline]
fn packet(bytes: &[u8], order: Order, nanoseconds: bool, first: Option<First>) -> Result<(usize, Found<'_>), String> {
    const MORE: (usize, Found<'_>) = (0, Found::Nothing);
    if bytes.len() < 16 {
        return Ok(MORE);
    }
    let length = order.u32(bytes, 8) as usize;
    if length > MAX_PACKET {
        return Err(format!("has a packet of {length} bytes, more than any network carries"));
    }
    let Some(frame) = bytes.get(16..16 + length) else { return Ok(MORE) };
    let fraction = u64::from(order.u32(bytes, 4));
    let time_ns = u64::from(order.u32(bytes, 0)) * 1_000_000_000 + if nanoseconds { fraction } else { fraction * 1000 };
    let wire_length = u64::from(order.u32(bytes, 12));
    let found = first.map(|first| Found::Packet(Packet { frame, wire_length, time_ns, first, tag: None }));
    Ok((16 + length, found.unwrap_or(Found::Unread)))
}

/// One block of pcapng.
fn block<'a>(
    bytes: &'a [u8],
    order: &mut Order,
    interfaces: &mut Vec<Interface>,
) -> Result<(usize, Found<'a>), String> {
    if bytes.len() < 12 {
        return Ok((0, Found::Nothing));
    }
    // A section header is the same in both byte orders, and says which one follows.
    let section = bytes[..4] == [0x0a, 0x0d, 0x0d, 0x0a];
    if section {
        order.big = match bytes[8..12] {
            [0x1a, 0x2b, 0x3c, 0x4d] => true,
            [0x4d, 0x3c, 0x2b, 0x1a] => false,
            _ => return Err("has a section header with a wrong byte-order magic".to_string()),
        };
        interfaces.clear();
    }
    let order = *order;
    let length = order.u32(bytes, 4) as usize;
    if length < 12 || length % 4 != 0 || length > MAX_BLOCK {
        return Err(format!("has a block with an impossible length of {length} bytes"));
    }
    let Some(whole) = bytes.get(..length) else { return Ok((0, Found::Nothing)) };
    if order.u32(whole, length - 4) as usize != length {
        return Err("has a block whose two lengths differ".to_string());
    }
    let body = &whole[8..length - 4];
    let mut found = Found::Nothing;
    match order.u32(whole, 0) {
        1 if interfaces.len() < MAX_INTERFACES => interfaces.push(interface(body, order)),
        1 => return Err(format!("describes more than {MAX_INTERFACES} interfaces")),
        6 if body.len() >= 20 => {
            let time = (u64::from(order.u32(body, 4)) << 32) | u64::from(order.u32(body, 8));
            let number = order.u32(body, 0) as usize;
            let place = interfaces
                .get(number)
                .ok_or_else(|| format!("has a packet of interface {number}, which it does not describe"))?;
            let captured = order.u32(body, 12) as usize;
            let frame = body.get(20..20 + captured).ok_or("has a packet that is longer than its block")?;
            let (wire_length, time_ns) = (u64::from(order.u32(body, 16)), nanoseconds(time, *place));
            found = match place.first {
                Some(first) => Found::Packet(Packet { frame, wire_length, time_ns, first, tag: None }),
                None => Found::Unread,
            };
        }
        6 => return Err("has a packet block that is too short".to_string()),
        // Simple packets carry no time; they cannot be placed in a flow.
        3 => found = Found::Unread,
        _ => {}
    }
    Ok((length, found))
}

fn nanoseconds(time: u64, place: Interface) -> u64 {
    let scaled = u128::from(time) * 1_000_000_000 / u128::from(place.units.max(1));
    let shifted = scaled as i128 + i128::from(place.offset_s) * 1_000_000_000;
    u64::try_from(shifted.max(0)).unwrap_or(u64::MAX)
}

/// An interface description block; its options if_tsresol (9) and if_tsoffset (14).
fn interface(body: &[u8], order: Order) -> Interface {
    let mut made =
        Interface { first: First::of_link_type(u32::from(order.u16(body, 0))), units: 1_000_000, offset_s: 0 };
    let mut at = 8;
    while at + 4 <= body.len() {
        let (code, length) = (order.u16(body, at), usize::from(order.u16(body, at + 2)));
        let Some(value) = body.get(at + 4..at + 4 + length) else { break };
        match (code, length) {
            (0, _) => break,
            (9, 1) => {
                let exponent = u32::from(value[0] & 0x7f);
                let units =
                    if value[0] & 0x80 != 0 { 2_u64.checked_pow(exponent) } else { 10_u64.checked_pow(exponent) };
                made.units = units.unwrap_or(made.units);
            }
            (14, 8) => made.offset_s = order.u64(value, 0) as i64,
            _ => {}
        }
        at += 4 + length.div_ceil(4) * 4;
    }
    made
}
