//! What is kept of application protocols, where a capture asks for it.
//!
//! DNS, DHCP and VRRP messages are kept as they came and read when a record is written; names of TLS and HTTP are short
//! and read at once.

mod dns;
mod handshake;
mod lease;

use serde::Serialize;

use crate::layer::Layer;
use crate::section::{Section, Transport};

pub use dns::Dns;
pub use handshake::{Http, Tls};
pub use lease::{Dhcpv4, Dhcpv6, Vrrp};

/// Which protocols are looked into; the first three numbers are those of Skydive's `ExtraLayers`.
pub mod wanted {
    pub const VRRP: u8 = 1;
    pub const DNS: u8 = 2;
    pub const DHCPV4: u8 = 4;
    pub const DHCPV6: u8 = 8;
    pub const TLS: u8 = 16;
    pub const HTTP: u8 = 32;
}

/// At most so much of a message is kept, in bytes.
const MOST: usize = 4096;
const DNS_PORT: u16 = 53;

/// What one flow keeps.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The last message and its time in ns; the last answer wins.
    dns: Option<(Box<[u8]>, u64)>,
    dhcpv4: Option<Box<[u8]>>,
    dhcpv6: Option<Box<[u8]>>,
    vrrp: Option<Box<[u8]>>,
    pub tls: Option<Tls>,
    pub http: Option<Http>,
}

/// What a packet holds for a flow to keep.
pub enum Found {
    Dns(Box<[u8]>),
    Dhcpv4(Box<[u8]>),
    Dhcpv6(Box<[u8]>),
    Vrrp(Box<[u8]>),
    Tls(Tls),
    Http(Http),
}

fn copied(bytes: &[u8]) -> Box<[u8]> {
    bytes[..bytes.len().min(MOST)].into()
}

/// Look into a packet for what is wanted.
pub fn look(section: &Section, frame: &[u8], wants: u8) -> Option<Found> {
    let payload = section.payload_of(frame);
    if payload.is_empty() {
        return None;
    }
    let asks = |bit: u8| wants & bit != 0;
    match section.path.last()? {
        Layer::DNS if asks(wanted::DNS) => Some(Found::Dns(copied(payload))),
        Layer::DHCPv4 if asks(wanted::DHCPV4) => Some(Found::Dhcpv4(copied(payload))),
        Layer::DHCPv6 if asks(wanted::DHCPV6) => Some(Found::Dhcpv6(copied(payload))),
        Layer::VRRP if asks(wanted::VRRP) => Some(Found::Vrrp(copied(payload))),
        Layer::TCP => {
            let is_dns = section.source_port == DNS_PORT || section.destination_port == DNS_PORT;
            if is_dns && asks(wanted::DNS) {
                return over_tcp(payload).map(|message| Found::Dns(copied(message)));
            }
            if asks(wanted::TLS) {
                if let Some(tls) = handshake::client_hello(payload) {
                    return Some(Found::Tls(tls));
                }
            }
            if asks(wanted::HTTP) {
                return handshake::request(payload).map(Found::Http);
            }
            None
        }
        _ => None,
    }
}

/// The message of a segment that holds a whole one (RFC 1035, section 4.2.2).
fn over_tcp(payload: &[u8]) -> Option<&[u8]> {
    let size = usize::from(crate::bytes::be16(payload, 0)?);
    payload.get(2..2 + size).filter(|message| message.len() >= 12)
}

impl Kept {
    /// Keep what was found: the last message of DNS, the first of the others.
    pub fn keep(&mut self, found: Found, now_ns: u64) {
        match found {
            Found::Dns(message) => self.dns = Some((message, now_ns)),
            Found::Dhcpv4(message) => drop(self.dhcpv4.get_or_insert(message)),
            Found::Dhcpv6(message) => drop(self.dhcpv6.get_or_insert(message)),
            Found::Vrrp(message) => drop(self.vrrp.get_or_insert(message)),
            Found::Tls(tls) => drop(self.tls.get_or_insert(tls)),
            Found::Http(http) => drop(self.http.get_or_insert(http)),
        }
    }

    /// The DNS message in its JSON form.
    pub fn dns(&self) -> Option<Dns> {
        self.dns.as_ref().and_then(|(message, time_ns)| dns::parse(message, *time_ns))
    }

    /// The DHCPv4 message in its JSON form.
    pub fn dhcpv4(&self) -> Option<Dhcpv4> {
        self.dhcpv4.as_deref().and_then(lease::dhcpv4)
    }

    /// The DHCPv6 message in its JSON form.
    pub fn dhcpv6(&self) -> Option<Dhcpv6> {
        self.dhcpv6.as_deref().and_then(lease::dhcpv6)
    }

    /// The VRRP advertisement in its JSON form.
    pub fn vrrp(&self) -> Option<Vrrp> {
        self.vrrp.as_deref().and_then(lease::vrrp)
    }
}

/// Whether a section can hold what [`look`] looks for, which is cheap to say.
#[inline]
pub fn may_hold(section: &Section) -> bool {
    section.transport == Transport::Tcp
        || matches!(section.path.last(), Some(Layer::DNS | Layer::DHCPv4 | Layer::DHCPv6 | Layer::VRRP))
}

fn is_default<T: Default + PartialEq + Serialize>(value: &T) -> bool {
    *value == T::default()
}
