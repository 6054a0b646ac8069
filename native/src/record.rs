//! The JSON form of a flow: keys, order and presence are those that Skydive's clients know.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use crate::application::{Dhcpv4, Dhcpv6, Dns, Http, Kept, Tls, Vrrp};
use crate::community::{self, Conversation};
use crate::flow::{Counters, Flow, RawPacket, TcpTimes};
use crate::options::Options;
use crate::section::{Ip, Transport};
use crate::stream::StreamCounters;

const NS_PER_MS: u64 = 1_000_000;

/// One flow.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Record<'a> {
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
    #[serde(rename = "DHCPv4", skip_serializing_if = "Option::is_none")]
    dhcpv4: Option<Dhcpv4>,
    #[serde(rename = "DNS", skip_serializing_if = "Option::is_none")]
    dns: Option<Dns>,
    #[serde(rename = "VRRPv2", skip_serializing_if = "Option::is_none")]
    vrrp: Option<Vrrp>,
    #[serde(rename = "DHCPv6", skip_serializing_if = "Option::is_none")]
    dhcpv6: Option<Dhcpv6>,
    #[serde(rename = "TLS", skip_serializing_if = "Option::is_none")]
    tls: Option<&'a Tls>,
    #[serde(rename = "HTTP", skip_serializing_if = "Option::is_none")]
    http: Option<&'a Http>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_metric: Option<Metric>,
    metric: Metric,
    #[serde(rename = "TCPMetric", skip_serializing_if = "Option::is_none")]
    tcp_metric: Option<TcpMetric>,
    #[serde(rename = "IPMetric", skip_serializing_if = "Option::is_none")]
    ip_metric: Option<IpMetric>,
    start: u64,
    last: u64,
    #[serde(rename = "TrackingID")]
    tracking_id: String,
    #[serde(rename = "L3TrackingID")]
    l3_tracking_id: String,
    #[serde(rename = "CommunityID", skip_serializing_if = "Option::is_none")]
    community_id: Option<String>,
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

#[derive(Serialize)]
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
    #[serde(rename = "ABSegmentOutOfOrder")]
    ab_segment_out_of_order: u64,
    #[serde(rename = "ABSegmentSkipped")]
    ab_segment_skipped: u64,
    #[serde(rename = "ABSegmentSkippedBytes")]
    ab_segment_skipped_bytes: u64,
    #[serde(rename = "ABPackets")]
    ab_packets: u64,
    #[serde(rename = "ABBytes")]
    ab_bytes: u64,
    #[serde(rename = "ABSawStart")]
    ab_saw_start: u64,
    #[serde(rename = "ABSawEnd")]
    ab_saw_end: u64,
    #[serde(rename = "BASegmentOutOfOrder")]
    ba_segment_out_of_order: u64,
    #[serde(rename = "BASegmentSkipped")]
    ba_segment_skipped: u64,
    #[serde(rename = "BASegmentSkippedBytes")]
    ba_segment_skipped_bytes: u64,
    #[serde(rename = "BAPackets")]
    ba_packets: u64,
    #[serde(rename = "BABytes")]
    ba_bytes: u64,
    #[serde(rename = "BASawStart")]
    ba_saw_start: u64,
    #[serde(rename = "BASawEnd")]
    ba_saw_end: u64,
    #[serde(rename = "ABSegmentRetransmitted", skip_serializing_if = "is_zero")]
    ab_segment_retransmitted: u64,
    #[serde(rename = "BASegmentRetransmitted", skip_serializing_if = "is_zero")]
    ba_segment_retransmitted: u64,
}

#[derive(Serialize)]
struct IpMetric {
    #[serde(rename = "Fragments")]
    fragments: u32,
    #[serde(rename = "FragmentErrors")]
    fragment_errors: u32,
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

/// The text of a MAC address.
pub fn mac(bytes: [u8; 6]) -> String {
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

fn tcp_metric(times: Option<&TcpTimes>, ab: StreamCounters, ba: StreamCounters) -> TcpMetric {
    let times = times.copied().unwrap_or_default();
    TcpMetric {
        ab_syn_start: times.syn[0],
        ba_syn_start: times.syn[1],
        ab_syn_ttl: times.syn_ttl[0],
        ba_syn_ttl: times.syn_ttl[1],
        ab_fin_start: times.fin[0],
        ba_fin_start: times.fin[1],
        ab_rst_start: times.rst[0],
        ba_rst_start: times.rst[1],
        ab_segment_out_of_order: ab.out_of_order,
        ab_segment_skipped: ab.skipped,
        ab_segment_skipped_bytes: ab.skipped_bytes,
        ab_packets: ab.packets,
        ab_bytes: ab.bytes,
        ab_saw_start: u64::from(ab.saw_start),
        ab_saw_end: u64::from(ab.saw_end),
        ba_segment_out_of_order: ba.out_of_order,
        ba_segment_skipped: ba.skipped,
        ba_segment_skipped_bytes: ba.skipped_bytes,
        ba_packets: ba.packets,
        ba_bytes: ba.bytes,
        ba_saw_start: u64::from(ba.saw_start),
        ba_saw_end: u64::from(ba.saw_end),
        ab_segment_retransmitted: ab.retransmitted,
        ba_segment_retransmitted: ba.retransmitted,
    }
}

fn community_id(flow: &Flow) -> Option<String> {
    let key = &flow.key;
    let (a, b) = flow.ends();
    community::id(&Conversation {
        ip: key.ip,
        source: &key.addresses[a],
        destination: &key.addresses[b],
        transport: key.transport,
        ports: flow.ports(),
        icmp: key.has_icmp.then_some((flow.icmp.wire, flow.icmp.code)),
    })
}

/// The name of a transport protocol.
pub fn transport_name(transport: Transport) -> Option<&'static str> {
    match transport {
        Transport::None => None,
        Transport::Tcp => Some("TCP"),
        Transport::Udp => Some("UDP"),
        Transport::Sctp => Some("SCTP"),
    }
}

/// The name of a network protocol.
pub fn network_name(ip: Ip) -> Option<&'static str> {
    match ip {
        Ip::None => None,
        Ip::V4 => Some("IPV4"),
        Ip::V6 => Some("IPV6"),
    }
}

impl<'a> Record<'a> {
    /// The record of a flow as it stands.
    pub fn of(flow: &'a Flow, options: &'a Options) -> Self {
        let (a, b) = flow.ends();
        let key = &flow.key;
        let (start, last) = (flow.start_ns / NS_PER_MS, flow.last_ns / NS_PER_MS);
        let link = key.has_link.then(|| {
            let (a, b) = flow.macs();
            LayerRecord { protocol: "ETHERNET", a: mac(a), b: mac(b), id: key.vlans }
        });
        let network = network_name(key.ip).map(|protocol| LayerRecord {
            protocol,
            a: address(key.ip, key.addresses[a]),
            b: address(key.ip, key.addresses[b]),
            id: u64::from(key.network_id),
        });
        let (port_a, port_b) = flow.ports();
        let transport =
            transport_name(key.transport).map(|protocol| TransportRecord { protocol, a: port_a, b: port_b, id: 0 });
        let icmp =
            key.has_icmp.then(|| IcmpRecord { kind: flow.icmp.kind.name(), code: flow.icmp.code, id: flow.icmp.id });
        let extra = flow.extra.as_deref();
        let kept = extra.and_then(|extra| extra.kept.as_deref());
        let times = extra.and_then(|extra| extra.tcp.as_deref());
        let streams = extra.and_then(|extra| extra.streams.as_deref());
        let [ab, ba] = streams.map(|[ab, ba]| [ab.counters, ba.counters]).unwrap_or_default();
        let updated = flow.update_last_ms > 0;
        Self {
            uuid: hex(flow.ids.uuid),
            layers_path: flow.path.to_string(),
            application: options.applications.name(flow.application),
            link,
            network,
            transport,
            icmp,
            dhcpv4: kept.and_then(Kept::dhcpv4),
            dns: kept.and_then(Kept::dns),
            vrrp: kept.and_then(Kept::vrrp),
            dhcpv6: kept.and_then(Kept::dhcpv6),
            tls: kept.and_then(|kept| kept.tls.as_ref()),
            http: kept.and_then(|kept| kept.http.as_ref()),
            last_update_metric: updated
                .then(|| metric(flow.update, flow.update_start_ms, flow.update_last_ms, flow.rtt_ns)),
            metric: metric(flow.counters, start, last, flow.rtt_ns),
            tcp_metric: (times.is_some() || streams.is_some()).then(|| tcp_metric(times, ab, ba)),
            ip_metric: (options.defragment_bytes > 0 && key.ip != Ip::None).then(|| {
                let pieces = extra.map(|extra| extra.pieces).unwrap_or_default();
                IpMetric { fragments: pieces.held, fragment_errors: pieces.errors }
            }),
            start,
            last,
            tracking_id: hex(flow.ids.tracking),
            l3_tracking_id: hex(flow.ids.l3_tracking),
            community_id: community_id(flow),
            parent_uuid: if key.parent == 0 { String::new() } else { hex(key.parent) },
            node_tid: &options.place.node_tid,
            capture_id: &options.place.capture_id,
            raw_packets_captured: extra.map_or(0, |extra| extra.raw_count),
            finish_type: flow.finish as u8,
        }
    }
}

/// Append the flow as one line of JSON.
pub fn write(flow: &Flow, options: &Options, out: &mut Vec<u8>) {
    // Writing plain data to memory cannot fail.
    if serde_json::to_writer(&mut *out, &Record::of(flow, options)).is_ok() {
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
