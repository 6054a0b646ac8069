//! The value of a key of a live flow: `Network.A`, `Metric.ABBytes`, `DNS.response_code`.
//!
//! Keys are those of the JSON form.  `ETHERNET`, `IPV4`, `IPV6`, `TCP`, `UDP` and `SCTP` are other names of `Link`,
//! `Network` and `Transport`; these three alone mean either end.

use std::borrow::Cow;

use crate::flow::{Counters, Flow};
use crate::options::Options;
use crate::record::{self, address, hex, mac, Record};
use crate::section::{Ip, Transport};

/// What a key gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Text(Cow<'a, str>),
    Int(i128),
    /// Of a part of the record that is not at hand, as it stands there.
    Json(serde_json::Value),
    /// Several values, each of which counts.
    Either([Box<Value<'a>>; 2]),
}

type Getter = fn(&Flow, &Options) -> Option<Value<'static>>;

/// A key, ready to be asked for.
pub enum Field {
    Quick(Getter),
    /// A path in the record; parts are compared without case and underscores, so that `ResponseCode` finds
    /// `response_code`.
    Path(Vec<String>),
}

fn text(text: impl Into<Cow<'static, str>>) -> Option<Value<'static>> {
    Some(Value::Text(text.into()))
}

fn int(number: impl Into<i128>) -> Option<Value<'static>> {
    Some(Value::Int(number.into()))
}

fn link(flow: &Flow, second: bool) -> Option<Value<'static>> {
    let (a, b) = flow.macs();
    flow.key.has_link.then(|| Value::Text(mac(if second { b } else { a }).into()))
}

fn network(flow: &Flow, second: bool) -> Option<Value<'static>> {
    let (a, b) = flow.ends();
    let key = &flow.key;
    (key.ip != Ip::None).then(|| Value::Text(address(key.ip, key.addresses[if second { b } else { a }]).into()))
}

fn port(flow: &Flow, second: bool) -> Option<Value<'static>> {
    let (a, b) = flow.ports();
    (flow.key.transport != Transport::None).then_some(Value::Int(if second { b } else { a }.into()))
}

fn either(a: Option<Value<'static>>, b: Option<Value<'static>>) -> Option<Value<'static>> {
    Some(Value::Either([Box::new(a?), Box::new(b?)]))
}

fn updated(flow: &Flow, of: impl Fn(&Counters) -> u64) -> Option<Value<'static>> {
    (flow.update_last_ms > 0).then(|| Value::Int(of(&flow.update).into()))
}

fn quick(key: &str) -> Option<Getter> {
    Some(match key {
        "UUID" => |flow, _| text(hex(flow.ids.uuid)),
        "TrackingID" => |flow, _| text(hex(flow.ids.tracking)),
        "L3TrackingID" => |flow, _| text(hex(flow.ids.l3_tracking)),
        "ParentUUID" => |flow, _| text(if flow.key.parent == 0 { String::new() } else { hex(flow.key.parent) }),
        "LayersPath" => |flow, _| text(flow.path.to_string()),
        "Application" => |flow, options| text(options.applications.name(flow.application).to_owned()),
        "NodeTID" => |_, options| text(options.place.node_tid.clone()),
        "CaptureID" => |_, options| text(options.place.capture_id.clone()),
        "Start" | "Metric.Start" => |flow, _| int(flow.start_ns / 1_000_000),
        "Last" | "Metric.Last" => |flow, _| int(flow.last_ns / 1_000_000),
        "FinishType" => |flow, _| int(flow.finish as u8),
        "RawPacketsCaptured" => |flow, _| int(flow.extra.as_ref().map_or(0, |extra| extra.raw_count)),
        "Link" => |flow, _| either(link(flow, false), link(flow, true)),
        "Link.A" => |flow, _| link(flow, false),
        "Link.B" => |flow, _| link(flow, true),
        "Link.Protocol" => |flow, _| flow.key.has_link.then_some(Value::Text("ETHERNET".into())),
        "Link.ID" => |flow, _| flow.key.has_link.then_some(Value::Int(flow.key.vlans.into())),
        "Network" => |flow, _| either(network(flow, false), network(flow, true)),
        "Network.A" => |flow, _| network(flow, false),
        "Network.B" => |flow, _| network(flow, true),
        "Network.Protocol" => |flow, _| record::network_name(flow.key.ip).and_then(text),
        "Network.ID" => |flow, _| (flow.key.ip != Ip::None).then_some(Value::Int(flow.key.network_id.into())),
        "Transport" => |flow, _| either(port(flow, false), port(flow, true)),
        "Transport.A" => |flow, _| port(flow, false),
        "Transport.B" => |flow, _| port(flow, true),
        "Transport.Protocol" => |flow, _| record::transport_name(flow.key.transport).and_then(text),
        "Transport.ID" => |flow, _| port(flow, false).map(|_| Value::Int(0)),
        "ICMP.Type" => |flow, _| flow.key.has_icmp.then(|| Value::Text(flow.icmp.kind.name().into())),
        "ICMP.Code" => |flow, _| flow.key.has_icmp.then_some(Value::Int(flow.icmp.code.into())),
        "ICMP.ID" => |flow, _| flow.key.has_icmp.then_some(Value::Int(flow.icmp.id.into())),
        "Metric.ABPackets" => |flow, _| int(flow.counters.ab_packets),
        "Metric.ABBytes" => |flow, _| int(flow.counters.ab_bytes),
        "Metric.BAPackets" => |flow, _| int(flow.counters.ba_packets),
        "Metric.BABytes" => |flow, _| int(flow.counters.ba_bytes),
        "Metric.RTT" => |flow, _| int(flow.rtt_ns),
        "LastUpdateMetric.ABPackets" => |flow, _| updated(flow, |update| update.ab_packets),
        "LastUpdateMetric.ABBytes" => |flow, _| updated(flow, |update| update.ab_bytes),
        "LastUpdateMetric.BAPackets" => |flow, _| updated(flow, |update| update.ba_packets),
        "LastUpdateMetric.BABytes" => |flow, _| updated(flow, |update| update.ba_bytes),
        "LastUpdateMetric.Start" => |flow, _| updated(flow, |_| flow.update_start_ms),
        "LastUpdateMetric.Last" => |flow, _| updated(flow, |_| flow.update_last_ms),
        "LastUpdateMetric.RTT" => |flow, _| updated(flow, |_| flow.rtt_ns),
        _ => return None,
    })
}

fn plain(part: &str) -> String {
    part.chars().filter(|each| *each != '_').flat_map(char::to_lowercase).collect()
}

impl Field {
    /// From a key.
    pub fn of(key: &str) -> Self {
        let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
        let first = match first {
            "ETHERNET" => "Link",
            "IPV4" | "IPV6" => "Network",
            "TCP" | "UDP" | "SCTP" => "Transport",
            "VRRP" => "VRRPv2",
            other => other,
        };
        let key = rest.map_or_else(|| first.to_owned(), |rest| format!("{first}.{rest}"));
        quick(&key).map_or_else(|| Self::Path(key.split('.').map(plain).collect()), Self::Quick)
    }

    /// The value that a flow has there; None when it has none.
    pub fn value(&self, flow: &Flow, options: &Options) -> Option<Value<'static>> {
        match self {
            Self::Quick(get) => get(flow, options),
            Self::Path(path) => {
                let record = serde_json::to_value(Record::of(flow, options)).ok()?;
                look_up(&record, path).map(Value::Json)
            }
        }
    }
}

/// Through a list of objects the path fans out, as in the filter language.
fn look_up(value: &serde_json::Value, path: &[String]) -> Option<serde_json::Value> {
    let Some((part, rest)) = path.split_first() else { return Some(value.clone()) };
    match value {
        serde_json::Value::Object(map) => {
            map.iter().find(|(key, _)| plain(key) == *part).and_then(|(_, inner)| look_up(inner, rest))
        }
        serde_json::Value::Array(list) => {
            let mut found = Vec::new();
            let mut present = false;
            for inner in list.iter().filter(|inner| inner.is_object()).filter_map(|inner| look_up(inner, path)) {
                present = true;
                match inner {
                    serde_json::Value::Array(several) => found.extend(several),
                    one => found.push(one),
                }
            }
            present.then_some(serde_json::Value::Array(found))
        }
        _ => None,
    }
}
