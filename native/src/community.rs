//! Community ID, version 1: an id of a conversation that other tools compute alike
//! (<https://github.com/corelight/community-id-spec>, seed 0).

use base64::Engine;
use sha1::{Digest, Sha1};

use crate::section::{Ip, Transport};

/// What the id is computed of, as the first packet has it.
pub struct Conversation<'a> {
    pub ip: Ip,
    pub source: &'a [u8; 16],
    pub destination: &'a [u8; 16],
    pub transport: Transport,
    pub ports: (u16, u16),
    /// Type and code as they stand in the packet.
    pub icmp: Option<(u8, u8)>,
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// The message type that answers this one; such pairs stand for the two ports.
fn answer_v4(kind: u8) -> Option<u8> {
    Some(match kind {
        0 => 8,
        8 => 0,
        9 => 10,
        10 => 9,
        13 => 14,
        14 => 13,
        15 => 16,
        16 => 15,
        17 => 18,
        18 => 17,
        _ => return None,
    })
}

fn answer_v6(kind: u8) -> Option<u8> {
    Some(match kind {
        128 => 129,
        129 => 128,
        130 => 131,
        131 => 130,
        133 => 134,
        134 => 133,
        135 => 136,
        136 => 135,
        139 => 140,
        140 => 139,
        144 => 145,
        145 => 144,
        _ => return None,
    })
}

/// The id; None for what is neither TCP, UDP, SCTP nor ICMP over IP.
pub fn id(of: &Conversation<'_>) -> Option<String> {
    let size = match of.ip {
        Ip::None => return None,
        Ip::V4 => 4,
        Ip::V6 => 16,
    };
    let mut one_way = false;
    let (protocol, (source_port, destination_port)) = match (of.transport, of.icmp, of.ip) {
        (Transport::Tcp, ..) => (TCP, of.ports),
        (Transport::Udp, ..) => (UDP, of.ports),
        (Transport::Sctp, ..) => (SCTP, of.ports),
        (Transport::None, Some((kind, code)), ip) => {
            let (protocol, answer) = if ip == Ip::V6 { (ICMPV6, answer_v6(kind)) } else { (ICMP, answer_v4(kind)) };
            one_way = answer.is_none();
            (protocol, (u16::from(kind), u16::from(answer.unwrap_or(code))))
        }
        _ => return None,
    };
    let source = (&of.source[..size], source_port);
    let destination = (&of.destination[..size], destination_port);
    let (first, second) = if one_way || source <= destination { (source, destination) } else { (destination, source) };
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    hash.update(first.0);
    hash.update(second.0);
    hash.update([protocol, 0]);
    hash.update(first.1.to_be_bytes());
    hash.update(second.1.to_be_bytes());
    Some(format!("1:{}", base64::engine::general_purpose::STANDARD.encode(hash.finalize())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(a: [u8; 4]) -> [u8; 16] {
        let mut made = [0; 16];
        made[..4].copy_from_slice(&a);
        made
    }

    // Values of the specification's baseline (baseline/baseline_deflt.json, 128.232.110.120 and 66.35.250.204).
    #[test]
    fn as_the_specification_says() {
        let (a, b) = (v4([128, 232, 110, 120]), v4([66, 35, 250, 204]));
        let tcp = |source, destination, ports| {
            id(&Conversation { ip: Ip::V4, source, destination, transport: Transport::Tcp, ports, icmp: None })
        };
        assert_eq!(tcp(&a, &b, (34855, 80)).as_deref(), Some("1:LQU9qZlK+B5F3KDmev6m5PMibrg="));
        assert_eq!(tcp(&b, &a, (80, 34855)).as_deref(), Some("1:LQU9qZlK+B5F3KDmev6m5PMibrg="));
    }

    #[test]
    fn an_echo_and_its_reply_are_one_conversation() {
        let (a, b) = (v4([192, 168, 0, 89]), v4([192, 168, 0, 1]));
        let icmp = |source, destination, kind| {
            let transport = Transport::None;
            id(&Conversation { ip: Ip::V4, source, destination, transport, ports: (0, 0), icmp: Some((kind, 0)) })
        };
        assert_eq!(icmp(&a, &b, 8).as_deref(), Some("1:X0snYXpgwiv9TZtqg64sgzUn6Dk="));
        assert_eq!(icmp(&b, &a, 0).as_deref(), Some("1:X0snYXpgwiv9TZtqg64sgzUn6Dk="));
    }
}
