//! DNS messages (RFC 1035; AAAA RFC 3596, SRV RFC 2782, OPT RFC 6891).
//!
//! Names of types, classes and codes are those of gopacket, which Skydive's clients know.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use super::is_default;
use crate::bytes::{array, be16, be32};

/// More records than a message of 64 KiB holds in earnest; ends the work on a hostile one.
const MOST_RECORDS: usize = 512;
/// RFC 1035, section 2.3.4.
const LONGEST_NAME: usize = 255;

/// A message in the JSON form of a flow's `DNS`.
#[derive(Serialize, Default)]
pub struct Dns {
    #[serde(rename = "ID", skip_serializing_if = "is_default")]
    id: u16,
    #[serde(rename = "QR", skip_serializing_if = "is_default")]
    qr: bool,
    op_code: &'static str,
    #[serde(rename = "AA", skip_serializing_if = "is_default")]
    aa: bool,
    #[serde(rename = "TC", skip_serializing_if = "is_default")]
    tc: bool,
    #[serde(rename = "RD", skip_serializing_if = "is_default")]
    rd: bool,
    #[serde(rename = "RA", skip_serializing_if = "is_default")]
    ra: bool,
    #[serde(skip_serializing_if = "is_default")]
    z: u8,
    response_code: &'static str,
    #[serde(skip_serializing_if = "is_default")]
    q_d_count: u16,
    #[serde(skip_serializing_if = "is_default")]
    a_n_count: u16,
    #[serde(skip_serializing_if = "is_default")]
    n_s_count: u16,
    #[serde(skip_serializing_if = "is_default")]
    a_r_count: u16,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    questions: Vec<Question>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    answers: Vec<ResourceRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorities: Vec<ResourceRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    additionals: Vec<ResourceRecord>,
    timestamp: Timestamp,
}

#[derive(Serialize, Default)]
struct Timestamp {
    #[serde(skip_serializing_if = "is_default")]
    seconds: u64,
    #[serde(skip_serializing_if = "is_default")]
    nanos: u64,
}

#[derive(Serialize)]
struct Question {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    class: &'static str,
}

#[derive(Serialize, Default)]
struct ResourceRecord {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    class: &'static str,
    #[serde(rename = "TTL", skip_serializing_if = "is_default")]
    ttl: u32,
    #[serde(skip_serializing_if = "is_default")]
    data_length: u16,
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(rename = "NS", skip_serializing_if = "Option::is_none")]
    ns: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    c_name: Option<String>,
    #[serde(rename = "PTR", skip_serializing_if = "Option::is_none")]
    ptr: Option<String>,
    #[serde(rename = "TXTs", skip_serializing_if = "Vec::is_empty")]
    txts: Vec<String>,
    #[serde(rename = "SOA", skip_serializing_if = "Option::is_none")]
    soa: Option<Soa>,
    #[serde(rename = "SRV", skip_serializing_if = "Option::is_none")]
    srv: Option<Srv>,
    #[serde(rename = "MX", skip_serializing_if = "Option::is_none")]
    mx: Option<Mx>,
    #[serde(rename = "OPT", skip_serializing_if = "Vec::is_empty")]
    opt: Vec<Opt>,
}

#[derive(Serialize)]
struct Soa {
    m_name: String,
    r_name: String,
    serial: u32,
    refresh: u32,
    retry: u32,
    expire: u32,
    minimum: u32,
}

#[derive(Serialize)]
struct Srv {
    #[serde(skip_serializing_if = "is_default")]
    priority: u16,
    #[serde(skip_serializing_if = "is_default")]
    weight: u16,
    #[serde(skip_serializing_if = "is_default")]
    port: u16,
    name: String,
}

#[derive(Serialize)]
struct Mx {
    #[serde(skip_serializing_if = "is_default")]
    preference: u16,
    name: String,
}

#[derive(Serialize)]
struct Opt {
    code: String,
    data: String,
}

/// Read a message; what is cut or wrong ends the list that it stands in.  None when the header is not whole.
pub fn parse(message: &[u8], time_ns: u64) -> Option<Dns> {
    let flags = be16(message, 2)?;
    let counts: [u16; 4] = [be16(message, 4)?, be16(message, 6)?, be16(message, 8)?, be16(message, 10)?];
    let bit = |at: u32| flags >> at & 1 == 1;
    let mut made = Dns {
        id: be16(message, 0)?,
        qr: bit(15),
        op_code: op_code(flags >> 11 & 15),
        aa: bit(10),
        tc: bit(9),
        rd: bit(8),
        ra: bit(7),
        z: (flags >> 4 & 7) as u8,
        response_code: response_code(flags & 15),
        q_d_count: counts[0],
        a_n_count: counts[1],
        n_s_count: counts[2],
        a_r_count: counts[3],
        timestamp: Timestamp { seconds: time_ns / 1_000_000_000, nanos: time_ns % 1_000_000_000 },
        ..Dns::default()
    };
    // What cannot be read leaves the rest empty.
    let _ = lists(message, counts, &mut made);
    Some(made)
}

fn lists(message: &[u8], counts: [u16; 4], made: &mut Dns) -> Option<()> {
    let mut at = 12;
    let mut left = MOST_RECORDS;
    for _ in 0..counts[0] {
        left = left.checked_sub(1)?;
        let (name, after) = name(message, at)?;
        made.questions.push(Question {
            name,
            kind: kind(be16(message, after)?),
            class: class(be16(message, after + 2)?),
        });
        at = after + 4;
    }
    for (list, count) in
        [(&mut made.answers, counts[1]), (&mut made.authorities, counts[2]), (&mut made.additionals, counts[3])]
    {
        for _ in 0..count {
            left = left.checked_sub(1)?;
            at = resource(message, at, list)?;
        }
    }
    Some(())
}

/// Append one resource record to the list if it is of a kind that is kept; returns where the next begins.
fn resource(message: &[u8], at: usize, list: &mut Vec<ResourceRecord>) -> Option<usize> {
    let (owner, after) = name(message, at)?;
    let number = be16(message, after)?;
    let size = be16(message, after + 8)?;
    let (data, end) = (after + 10, after + 10 + usize::from(size));
    let bytes = message.get(data..end)?;
    let mut made = ResourceRecord {
        name: owner,
        kind: kind(number),
        class: class(be16(message, after + 2)?),
        ttl: be32(message, after + 4)?,
        data_length: size,
        ..ResourceRecord::default()
    };
    let named = |from: usize| name(message, from).map(|(text, _)| text);
    match number {
        1 => made.ip = Some(Ipv4Addr::from(array::<4>(bytes, 0)?).to_string()),
        28 => made.ip = Some(Ipv6Addr::from(array::<16>(bytes, 0)?).to_string()),
        2 => made.ns = Some(named(data)?),
        5 => made.c_name = Some(named(data)?),
        12 => made.ptr = Some(named(data)?),
        6 => {
            let (m_name, next) = name(message, data)?;
            let (r_name, next) = name(message, next)?;
            let number = |place: usize| be32(message, next + 4 * place);
            made.soa = Some(Soa {
                m_name,
                r_name,
                serial: number(0)?,
                refresh: number(1)?,
                retry: number(2)?,
                expire: number(3)?,
                minimum: number(4)?,
            });
        }
        33 => {
            made.srv = Some(Srv {
                priority: be16(bytes, 0)?,
                weight: be16(bytes, 2)?,
                port: be16(bytes, 4)?,
                name: named(data + 6)?,
            });
        }
        15 => made.mx = Some(Mx { preference: be16(bytes, 0)?, name: named(data + 2)? }),
        13 | 16 => made.txts = texts(bytes)?,
        41 => made.opt = options(bytes)?,
        _ => return Some(end),
    }
    list.push(made);
    Some(end)
}

fn texts(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut made = Vec::new();
    while let Some((size, rest)) = bytes.split_first() {
        let (text, after) = rest.split_at_checked(usize::from(*size))?;
        made.push(String::from_utf8_lossy(text).into_owned());
        bytes = after;
    }
    Some(made)
}

fn options(mut bytes: &[u8]) -> Option<Vec<Opt>> {
    let mut made = Vec::new();
    while !bytes.is_empty() {
        let (code, size) = (be16(bytes, 0)?, usize::from(be16(bytes, 2)?));
        let (data, after) = bytes.get(4..)?.split_at_checked(size)?;
        made.push(Opt { code: code.to_string(), data: data.iter().map(|byte| format!("{byte:02x}")).collect() });
        bytes = after;
    }
    Some(made)
}

/// A name with its pointers followed, and where the next field begins.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut text = Vec::new();
    let mut after = None;
    loop {
        let size = usize::from(*message.get(at)?);
        match size >> 6 {
            0 if size == 0 => break,
            0 => {
                if !text.is_empty() {
                    text.push(b'.');
                }
                text.extend_from_slice(message.get(at + 1..at + 1 + size)?);
                if text.len() > LONGEST_NAME {
                    return None;
                }
                at += 1 + size;
            }
            3 => {
                let target = usize::from(be16(message, at)? & 0x3fff);
                after.get_or_insert(at + 2);
                // Names only point back; so there is an end.
                if target >= at {
                    return None;
                }
                at = target;
            }
            _ => return None,
        }
    }
    Some((String::from_utf8_lossy(&text).into_owned(), after.unwrap_or(at + 1)))
}

fn op_code(number: u16) -> &'static str {
    match number {
        0 => "Query",
        1 => "Inverse Query",
        2 => "Status",
        4 => "Notify",
        5 => "Update",
        _ => "Unknown",
    }
}

fn response_code(number: u16) -> &'static str {
    match number {
        0 => "No Error",
        1 => "Format Error",
        2 => "Server Failure ",
        3 => "Non-Existent Domain",
        4 => "Not Implemented",
        5 => "Query Refused",
        6 => "Name Exists when it should not",
        7 => "RR Set Exists when it should not",
        8 => "RR Set that should exist does not",
        9 => "Server Not Authoritative for zone",
        10 => "Name not contained in zone",
        _ => "Unknown",
    }
}

fn kind(number: u16) -> &'static str {
    match number {
        1 => "A",
        2 => "NS",
        3 => "MD",
        4 => "MF",
        5 => "CNAME",
        6 => "SOA",
        7 => "MB",
        8 => "MG",
        9 => "MR",
        10 => "NULL",
        11 => "WKS",
        12 => "PTR",
        13 => "HINFO",
        14 => "MINFO",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        41 => "OPT",
        256 => "URI",
        _ => "Unknown",
    }
}

fn class(number: u16) -> &'static str {
    match number {
        1 => "IN",
        2 => "CS",
        3 => "CH",
        4 => "HS",
        255 => "Any",
        _ => "Unknown",
    }
}
