//! DHCP (RFC 2131, RFC 8415) and VRRP version 2 (RFC 3768) and 3 (RFC 5798).

use base64::Engine;
use serde::Serialize;

use super::is_default;
use crate::bytes::{be16, be24, be32};

/// A message in the JSON form of a flow's `DHCPv4`; byte fields are base64, without their trailing zeros.
#[derive(Serialize)]
pub struct Dhcpv4 {
    #[serde(skip_serializing_if = "is_default")]
    hardware_len: u8,
    /// Hops: how many relays passed it on.
    #[serde(skip_serializing_if = "is_default")]
    hardware_opts: u8,
    #[serde(skip_serializing_if = "is_default")]
    xid: u32,
    #[serde(skip_serializing_if = "is_default")]
    secs: u16,
    #[serde(skip_serializing_if = "is_default")]
    flags: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    server_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    file: String,
}

fn text(bytes: &[u8]) -> String {
    let size = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    base64::engine::general_purpose::STANDARD.encode(&bytes[..size])
}

pub fn dhcpv4(message: &[u8]) -> Option<Dhcpv4> {
    Some(Dhcpv4 {
        hardware_len: *message.get(2)?,
        hardware_opts: *message.get(3)?,
        xid: be32(message, 4)?,
        secs: be16(message, 8)?,
        flags: be16(message, 10)?,
        server_name: text(message.get(44..108)?),
        file: text(message.get(108..236)?),
    })
}

/// A message in the JSON form of a flow's `DHCPv6`.
#[derive(Serialize)]
pub struct Dhcpv6 {
    message_type: &'static str,
    #[serde(skip_serializing_if = "is_default")]
    transaction_id: u32,
}

pub fn dhcpv6(message: &[u8]) -> Option<Dhcpv6> {
    const NAMES: [&str; 14] = [
        "Unknown",
        "Solicit",
        "Advertise",
        "Request",
        "Confirm",
        "Renew",
        "Rebind",
        "Reply",
        "Release",
        "Decline",
        "Reconfigure",
        "Information-request",
        "Relay-forw",
        "Relay-repl",
    ];
    let kind = usize::from(*message.first()?);
    let relayed = matches!(kind, 12 | 13);
    Some(Dhcpv6 {
        message_type: NAMES.get(kind).copied().unwrap_or(NAMES[0]),
        // Relays have a hop count and addresses in its place.
        transaction_id: if relayed { 0 } else { be24(message, 1)? },
    })
}

/// An advertisement in the JSON form of a flow's `VRRPv2`.
#[derive(Serialize)]
pub struct Vrrp {
    #[serde(skip_serializing_if = "is_default")]
    version: u8,
    #[serde(rename = "virtual_rtrID", skip_serializing_if = "is_default")]
    virtual_router_id: u8,
    #[serde(skip_serializing_if = "is_default")]
    priority: u8,
    /// Seconds; in version 3 hundredths of a second.
    #[serde(skip_serializing_if = "is_default")]
    adver_int: u16,
}

pub fn vrrp(message: &[u8]) -> Option<Vrrp> {
    let version = message.first()? >> 4;
    let interval = be16(message, 4)?;
    Some(Vrrp {
        version,
        virtual_router_id: *message.get(1)?,
        priority: *message.get(2)?,
        adver_int: if version == 3 { interval & 0x0fff } else { interval & 0x00ff },
    })
}
