//! The JSON form of a flow: keys, order and presence are those that Skydive's clients know.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use crate::flow::{Counters, Flow, RawPacket};
use crate::names::Applications;
use crate::section::{IcmpKind, Ip, Transport};
use crate::identity::Place;

const NS_PER_MS: u64 = 1_000_000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Record<'a> {
    #[serde(rename = "UUID")]
    uuid: String,
    layers_path: String,
    application: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LayerRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<LayerRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<TransportRecord>,
    #[serde(rename = "ICMP", skip_serializing_if = "Option::is_none")]
    icmp: Option<IcmpRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_metric: Option<Metric>,
    metric: Metric,
    #[serde(rename = "TCPMetric", skip_serializing_if = "Option::is_none")]
    tcp_metric: Option<TcpMetric>,
    start: u64,
    last: u64,
    #[serde(rename = "TrackingID")]
    tracking_id: String,
    #[serde(rename = "L3TrackingID")]
    l3_tracking_id: String,
    #[serde(rename = "ParentUUID")]
    parent_uuid: String,
    #[serde(rename = "NodeTID", skip_serializing_if = "str::is_empty")]
    node_tid: &'a str,
    #[serde(rename = "CaptureID", skip_serializing_if = "str::is_empty")]
    capture_id: &'a str,
    raw_packets_captured: u32,
    #[serde(skip_serializing_if = "is_zero")]
    finish_type: u8,
}

#[derive(Serialize)]
struct LayerRecord {
    #[serde(rename = "Protocol")]
    protocol: &'static str,
    #[serde(rename = "A")]
    a: String,
    #[serde(rename = "B")]
    b: String,
    #[serde(rename = "ID")]
    id: u64,
}

#[derive(Serialize)]
struct TransportRecord {
    #[serde(rename = "Protocol")]
    protocol: &'static str,
    #[serde(rename = "A")]
    a: u16,
    #[serde(rename = "B")]
    b: u16,
    #[serde(rename = "ID")]
    id: u64,
}

#[derive(Serialize)]
struct IcmpRecord {
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "Code", skip_serializing_if = "is_zero")]
    code: u8,
    #[serde(rename = "ID", skip_serializing_if = "is_zero")]
    id: u16,
}

#[derive(Serialize)]
struct Metric {
    #[serde(rename = "ABPackets")]
    ab_packets: u64,
    #[serde(rename = "ABBytes")]
    ab_bytes: u64,
    #[serde(rename = "BAPackets")]
    ba_packets: u64,
    #[serde(rename = "BABytes")]
    ba_bytes: u64,
    #[serde(rename = "Start")]
    start: u64,
    #[serde(rename = "Last")]
    last: u64,
    #[serde(rename = "RTT", skip_serializing_if = "is_zero")]
    rtt: u64,
}

#[derive(Serialize, Default)]
struct TcpMetric {
    #[serde(rename = "ABSynStart")]
    ab_syn_start: u64,
    #[serde(rename = "BASynStart")]
    ba_syn_start: u64,
    #[serde(rename = "ABSynTTL", skip_serializing_if = "is_zero")]
    ab_syn_ttl: u8,
    #[serde(rename = "BASynTTL", skip_serializing_if = "is_zero")]
    ba_syn_ttl: u8,
    #[serde(rename = "ABFinStart")]
    ab_fin_start: u64,
    #[serde(rename = "BAFinStart")]
    ba_fin_start: u64,
    #[serde(rename = "ABRstStart")]
    ab_rst_start: u64,
    #[serde(rename = "BARstStart")]
    ba_rst_start: u64,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn metric(counters: Counters, start: u64, last: u64, rtt: u64) -> Metric {
    Metric {
        ab_packets: counters.ab_packets,
        ab_bytes: counters.ab_bytes,
        ba_packets: counters.ba_packets,
        ba_bytes: counters.ba_bytes,
        start,
        last,
        rtt,
    }
}

/// Ids are printed as lower-case hexadecimal without padding.
pub fn hex(id: u64) -> String {
    format!("{id:x}")
}

fn mac(bytes: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = bytes;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// The text of an address; IPv4 stands in the first four bytes.
pub fn address(ip: Ip, bytes: [u8; 16]) -> String {
    match ip {
        Ip::V6 => Ipv6Addr::from(bytes).to_string(),
        _ => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).to_string(),
    }
}

/// Append the flow as one line of JSON.
pub fn write(flow: &Flow, applications: &Applications, place: &Place, out: &mut Vec<u8>) {
    let (a, b) = flow.ends();
    let key = &flow.key;
    let (start, last) = (flow.start_ns / NS_PER_MS, flow.last_ns / NS_PER_MS);
    let link = key.has_link.then(|| {
        let (a, b) = flow.macs();
        LayerRecord { protocol: "ETHERNET", a: mac(a), b: mac(b), id: key.vlans }
    });
    let network = (key.ip != Ip::None).then(|| LayerRecord {
        protocol: if key.ip == Ip::V6 { "IPV6" } else { "IPV4" },
        a: address(key.ip, key.addresses[a]),
        b: address(key.ip, key.addresses[b]),
        id: u64::from(key.network_id),
    });
    let protocol = match key.transport {
        Transport::None => None,
        Transport::Tcp => Some("TCP"),
        Transport::Udp => Some("UDP"),
        Transport::Sctp => Some("SCTP"),
    };
    let transport = protocol.map(|protocol| TransportRecord {
        protocol,
        a: if key.udp_tunnel { flow.first_source_port } else { key.ports[a] },
        b: key.ports[b],
        id: 0,
    });
    let icmp = key.has_icmp.then(|| IcmpRecord {
        kind: IcmpKind::name(flow.icmp.0),
        code: flow.icmp.1,
        id: flow.icmp.2,
    });
    let extra = flow.extra.as_deref();
    let tcp_metric = extra.and_then(|extra| extra.tcp).map(|times| TcpMetric {
        ab_syn_start: times.syn[0],
        ba_syn_start: times.syn[1],
        ab_syn_ttl: times.syn_ttl[0],
        ba_syn_ttl: times.syn_ttl[1],
        ab_fin_start: times.fin[0],
        ba_fin_start: times.fin[1],
        ab_rst_start: times.rst[0],
        ba_rst_start: times.rst[1],
    });
    let updated = flow.update_last_ms > 0;
    let record = Record {
        uuid: hex(flow.ids.uuid),
        layers_path: flow.path.to_string(),
        application: applications.name(flow.application),
        link,
        network,
        transport,
        icmp,
        last_update_metric: updated
            .then(|| metric(flow.update, flow.update_start_ms, flow.update_last_ms, flow.rtt_ns)),
        metric: metric(flow.counters, start, last, flow.rtt_ns),
        tcp_metric,
        start,
        last,
        tracking_id: hex(flow.ids.tracking),
        l3_tracking_id: hex(flow.ids.l3_tracking),
        parent_uuid: if key.parent == 0 { String::new() } else { hex(key.parent) },
        node_tid: &place.node_tid,
        capture_id: &place.capture_id,
        raw_packets_captured: extra.map_or(0, |extra| extra.raw_count),
        finish_type: flow.finish as u8,
    };
    // Writing plain data to memory cannot fail.
    if serde_json::to_writer(&mut *out, &record).is_ok() {
        out.push(b'\n');
    }
}

#[derive(Serialize)]
struct RawRecord<'a> {
    #[serde(rename = "UUID")]
    uuid: &'a str,
    #[serde(rename = "Timestamp")]
    timestamp: u64,
    #[serde(rename = "Index")]
    index: u32,
    #[serde(rename = "Data")]
    data: String,
    #[serde(rename = "LinkType")]
    link_type: u32,
}

/// Append the kept packets of a flow, one line of JSON each.
pub fn write_raw(flow: &Flow, packets: &[RawPacket], out: &mut Vec<u8>) {
    use base64::Engine;
    let uuid = hex(flow.ids.uuid);
    for packet in packets {
        let record = RawRecord {
            uuid: &uuid,
            timestamp: packet.time_ms,
            index: packet.index,
            data: base64::engine::general_purpose::STANDARD.encode(&packet.data),
            link_type: packet.link_type,
        };
        if serde_json::to_writer(&mut *out, &record).is_ok() {
            out.push(b'\n');
        }
    }
}
