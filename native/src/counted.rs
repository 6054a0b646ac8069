//! Counters that another source has finished: an eBPF map, a NetFlow or sFlow record.
//!
//! A record has the JSON form of a flow, as far as the source knows it; what it leaves out is taken for unknown.  Flows
//! get the same ids as if their packets had been seen here, as far as the inputs go: without MAC addresses the
//! TrackingID is the L3TrackingID.

use std::net::IpAddr;

use serde::Deserialize;

use crate::flow::{Arrival, Counters, Finish, Flow, TcpTimes};
use crate::identity::{Ids, Key};
use crate::layer::{Layer, Path};
use crate::section::{IcmpKind, Ip, Section, Transport};
use crate::table::{FlowTable, NS_PER_MS};

/// What becomes of counters that a flow already has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// The record holds all since the flow's start.
    Replace,
    /// The record holds what came since the last one.
    Update,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Form {
    #[serde(default)]
    layers_path: String,
    link: Option<LinkForm>,
    network: Option<NetworkForm>,
    transport: Option<TransportForm>,
    #[serde(rename = "ICMP")]
    icmp: Option<IcmpForm>,
    metric: MetricForm,
    #[serde(rename = "TCPMetric")]
    tcp_metric: Option<TcpForm>,
    start: u64,
    last: u64,
    #[serde(default)]
    finish_type: u8,
}

#[derive(Deserialize)]
struct LinkForm {
    #[serde(rename = "A")]
    a: String,
    #[serde(rename = "B")]
    b: String,
    #[serde(rename = "ID", default)]
    id: u64,
}

#[derive(Deserialize)]
struct NetworkForm {
    #[serde(rename = "A")]
    a: IpAddr,
    #[serde(rename = "B")]
    b: IpAddr,
    #[serde(rename = "ID", default)]
    id: u32,
}

#[derive(Deserialize)]
struct TransportForm {
    #[serde(rename = "Protocol")]
    protocol: String,
    #[serde(rename = "A")]
    a: u16,
    #[serde(rename = "B")]
    b: u16,
}

#[derive(Deserialize)]
struct IcmpForm {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Code", default)]
    code: u8,
    #[serde(rename = "ID", default)]
    id: u16,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MetricForm {
    #[serde(rename = "ABPackets")]
    ab_packets: u64,
    #[serde(rename = "ABBytes")]
    ab_bytes: u64,
    #[serde(rename = "BAPackets")]
    ba_packets: u64,
    #[serde(rename = "BABytes")]
    ba_bytes: u64,
    #[serde(rename = "RTT")]
    rtt: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TcpForm {
    #[serde(rename = "ABSynStart")]
    ab_syn: u64,
    #[serde(rename = "BASynStart")]
    ba_syn: u64,
    #[serde(rename = "ABSynTTL")]
    ab_ttl: u8,
    #[serde(rename = "BASynTTL")]
    ba_ttl: u8,
    #[serde(rename = "ABFinStart")]
    ab_fin: u64,
    #[serde(rename = "BAFinStart")]
    ba_fin: u64,
    #[serde(rename = "ABRstStart")]
    ab_rst: u64,
    #[serde(rename = "BARstStart")]
    ba_rst: u64,
}

/// One record, checked.
pub struct Counted {
    section: Section,
    counters: Counters,
    rtt_ns: u64,
    times: Option<TcpTimes>,
    start_ms: u64,
    last_ms: u64,
    finish: Finish,
}

impl Counted {
    /// From its JSON form; an error says what is wrong.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let form: Form = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if form.last < form.start || form.last > u64::MAX / NS_PER_MS {
            return Err("Last must be a time in ms, and not before Start".to_owned());
        }
        let section = form.section()?;
        let finish = match form.finish_type {
            0 => Finish::NotFinished,
            1 => Finish::Timeout,
            2 => Finish::TcpFin,
            3 => Finish::TcpRst,
            other => return Err(format!("FinishType must be from 0 to 3, not {other}")),
        };
        let metric = &form.metric;
        Ok(Self {
            section,
            counters: Counters {
                ab_packets: metric.ab_packets,
                ab_bytes: metric.ab_bytes,
                ba_packets: metric.ba_packets,
                ba_bytes: metric.ba_bytes,
            },
            rtt_ns: metric.rtt,
            times: form.tcp_metric.map(|tcp| TcpTimes {
                syn: [tcp.ab_syn, tcp.ba_syn],
                syn_ttl: [tcp.ab_ttl, tcp.ba_ttl],
                fin: [tcp.ab_fin, tcp.ba_fin],
                rst: [tcp.ab_rst, tcp.ba_rst],
            }),
            start_ms: form.start,
            last_ms: form.last,
            finish,
        })
    }
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let wrong = || format!("{text:?} is no MAC address");
    let mut made = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut made {
        let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
    }
    if parts.next().is_some() {
        Err(wrong())
    } else {
        Ok(made)
    }
}

impl Form {
    fn section(&self) -> Result<Section, String> {
        let mut section = Section::default();
        if let Some(link) = &self.link {
            section.has_link = true;
            section.mac_source = mac(&link.a)?;
            section.mac_destination = mac(&link.b)?;
            section.vlans = link.id;
            section.path.push(Layer::Ethernet);
        }
        if let Some(network) = &self.network {
            match (network.a, network.b) {
                (IpAddr::V4(a), IpAddr::V4(b)) => {
                    section.ip = Ip::V4;
                    section.source[..4].copy_from_slice(&a.octets());
                    section.destination[..4].copy_from_slice(&b.octets());
                    section.path.push(Layer::IPv4);
                }
                (IpAddr::V6(a), IpAddr::V6(b)) => {
                    section.ip = Ip::V6;
                    section.source = a.octets();
                    section.destination = b.octets();
                    section.path.push(Layer::IPv6);
                }
                _ => return Err("Network.A and Network.B are of two versions of IP".to_owned()),
            }
            section.network_id = network.id;
        }
        if !section.has_link && section.ip == Ip::None {
            return Err("a flow needs Link or Network".to_owned());
        }
        if let Some(transport) = &self.transport {
            let (protocol, layer) = match transport.protocol.as_str() {
                "TCP" => (Transport::Tcp, Layer::TCP),
                "UDP" => (Transport::Udp, Layer::UDP),
                "SCTP" => (Transport::Sctp, Layer::SCTP),
                other => return Err(format!("Transport.Protocol must be TCP, UDP or SCTP, not {other:?}")),
            };
            section.transport = protocol;
            section.source_port = transport.a;
            section.destination_port = transport.b;
            section.path.push(layer);
        }
        if let Some(icmp) = &self.icmp {
            let kind = IcmpKind::of_name(&icmp.kind).ok_or_else(|| format!("{:?} is no ICMP type", icmp.kind))?;
            section.has_icmp = true;
            section.icmp_kind = kind;
            section.icmp_wire = kind.wire(section.ip == Ip::V6);
            section.icmp_code = icmp.code;
            section.icmp_id = icmp.id;
            section.path.push(if section.ip == Ip::V6 { Layer::ICMPv6 } else { Layer::ICMPv4 });
        }
        if !self.layers_path.is_empty() {
            let mut path = Path::default();
            for name in self.layers_path.split('/') {
                path.push(Layer::of_name(name).ok_or_else(|| format!("{name:?} in LayersPath is no known layer"))?);
            }
            section.path = path;
            section.udp_tunnel = matches!(path.last(), Some(Layer::VXLAN | Layer::Geneve));
        }
        Ok(section)
    }
}

impl FlowTable {
    /// Take counters of another source.
    pub fn record(&mut self, counted: &Counted, operation: Operation) {
        let mode = self.options.mode;
        let (key, swapped) = Key::of(&counted.section, mode, 0);
        self.stats.records += 1;
        if self.flow_of(&key).is_none() {
            let start_ns = counted.start_ms * NS_PER_MS;
            let arrival = Arrival { section: &counted.section, swapped, bytes: 0, now_ns: start_ns };
            let ids = Ids::of(&counted.section, mode, 0, counted.start_ms, &self.options.place);
            let application = self.options.applications.of(&counted.section);
            self.put(Flow::new(key, &arrival, ids, application));
        }
        if let Some(flow) = self.flow_of(&key) {
            flow.merge(counted, swapped, operation);
        }
    }
}

impl Flow {
    fn merge(&mut self, counted: &Counted, swapped: bool, operation: Operation) {
        let turned = swapped != self.swapped;
        let mut counters = counted.counters;
        let mut times = counted.times;
        if turned {
            counters = Counters {
                ab_packets: counters.ba_packets,
                ab_bytes: counters.ba_bytes,
                ba_packets: counters.ab_packets,
                ba_bytes: counters.ab_bytes,
            };
            for pair in times.iter_mut().flat_map(|times| [&mut times.syn, &mut times.fin, &mut times.rst]) {
                pair.swap(0, 1);
            }
            if let Some(times) = &mut times {
                times.syn_ttl.swap(0, 1);
            }
        }
        self.counters = match operation {
            Operation::Replace => counters,
            Operation::Update => self.counters.plus(counters),
        };
        if let Some(times) = times {
            let known = self.extra.get_or_insert_default().tcp.get_or_insert_default();
            **known = match operation {
                Operation::Replace => times,
                Operation::Update => known.or(times),
            };
        }
        if counted.rtt_ns != 0 {
            self.rtt_ns = counted.rtt_ns;
        }
        if counted.finish != Finish::NotFinished {
            self.finish = counted.finish;
        }
        self.start_ns = self.start_ns.min(counted.start_ms * NS_PER_MS);
        self.last_ns = self.last_ns.max(counted.last_ms * NS_PER_MS);
        self.touched = true;
        self.recent = true;
    }
}
