//! What Python sees: `skycore_native.Table` and `skycore_native.Batch`.
#![allow(unsafe_code)]

use std::sync::{Mutex, MutexGuard};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use crate::counted::{Counted, Operation};
use crate::dissect::{First, Ports};
use crate::fields::Field;
use crate::flow::Flow;
use crate::identity::{KeyMode, Place};
use crate::names::Applications;
use crate::options::Options;
use crate::packet::{Batcher, Packet};
use crate::pcap::{FormatError, Reader};
use crate::query::{Choice, Filter, Query};
use crate::table::FlowTable;
use crate::{record, tpacket};

/// Flows and kept packets, as lines of JSON.
#[pyclass(frozen, module = "skycore_native")]
struct Batch {
    flows: Py<PyBytes>,
    raw_packets: Py<PyBytes>,
    count: usize,
    more: bool,
}

#[pymethods]
impl Batch {
    #[getter]
    fn more(&self) -> bool {
        self.more
    }

    /// One flow a line, in the JSON form of the API.
    #[getter]
    fn flows(&self, py: Python<'_>) -> Py<PyBytes> {
        self.flows.clone_ref(py)
    }

    /// One kept packet a line: UUID of its flow, Timestamp (ms), Index, Data (base64), LinkType.
    #[getter]
    fn raw_packets(&self, py: Python<'_>) -> Py<PyBytes> {
        self.raw_packets.clone_ref(py)
    }

    fn __len__(&self) -> usize {
        self.count
    }
}

/// The flows that a query has chosen, in its order; made by ``choose``, read by ``chosen``.
#[pyclass(frozen)]
struct Chosen {
    choices: Vec<Choice>,
}

#[pymethods]
impl Chosen {
    fn __len__(&self) -> usize {
        self.choices.len()
    }
}

struct State {
    table: FlowTable,
    reader: Reader,
}

/// A flow table.  Calls from several threads wait for each other; the interpreter's lock is not held meanwhile.
#[pyclass(frozen, module = "skycore_native")]
struct Table {
    state: Mutex<State>,
    options: Options,
}

#[pymethods]
impl Table {
    #[new]
    #[pyo3(signature = (*, node_tid="", capture_id="", layer_key_mode="L2", max_flows=500_000, raw_packet_limit=0,
                        header_size=0, sampling=1, tcp_times=false, reassemble_tcp=false, defragment_bytes=0,
                        extra_layers=0, mpls_ports=vec![6635], vxlan_ports=vec![4789, 8472], tcp_names=vec![],
                        udp_names=vec![], timeouts=vec![]))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        node_tid: &str,
        capture_id: &str,
        layer_key_mode: &str,
        max_flows: usize,
        raw_packet_limit: u32,
        header_size: usize,
        sampling: u32,
        tcp_times: bool,
        reassemble_tcp: bool,
        defragment_bytes: usize,
        extra_layers: u8,
        mpls_ports: Vec<u16>,
        vxlan_ports: Vec<u16>,
        tcp_names: Vec<(u16, String)>,
        udp_names: Vec<(u16, String)>,
        timeouts: Vec<(String, u64)>,
    ) -> PyResult<Self> {
        let mode = match layer_key_mode {
            "L2" => KeyMode::L2,
            "L3" => KeyMode::L3,
            other => return Err(wrong(format!("layer_key_mode must be 'L2' or 'L3', not {other:?}"))),
        };
        if max_flows == 0 || max_flows >= u32::MAX as usize {
            return Err(wrong("max_flows must be from 1 to 4294967294"));
        }
        if sampling == 0 {
            return Err(wrong("sampling must be at least 1: one packet in so many is counted"));
        }
        let options = Options {
            place: Place { node_tid: node_tid.to_owned(), capture_id: capture_id.to_owned() },
            mode,
            max_flows,
            raw_packet_limit,
            header_size: if header_size == 0 { usize::MAX } else { header_size },
            sampling,
            tcp_times,
            reassemble_tcp,
            defragment_bytes,
            extra_layers,
            ports: Ports { mpls: mpls_ports, vxlan: vxlan_ports, ..Ports::default() },
            applications: Applications::new(&tcp_names, &udp_names, &timeouts),
            ..Options::default()
        }
        .ready();
        let state = State { table: FlowTable::new(options.clone()), reader: Reader::default() };
        Ok(Self { state: Mutex::new(state), options })
    }

    #[pyo3(signature = (frame, *, time_ns, wire_length=None, link_type=1))]
    fn packet(
        &self,
        py: Python<'_>,
        frame: PyBuffer<u8>,
        time_ns: u64,
        wire_length: Option<u64>,
        link_type: u32,
    ) -> PyResult<()> {
        let first = first_of(link_type)?;
        self.reading(py, &frame, |state, frame| {
            let wire_length = wire_length.unwrap_or(frame.len() as u64);
            state.table.packets(&[Packet { frame, wire_length, time_ns, first, tag: None }]);
        })
    }

    #[pyo3(signature = (frames, *, link_type=1))]
    fn packets(&self, py: Python<'_>, frames: Vec<(u64, u64, PyBackedBytes)>, link_type: u32) -> PyResult<()> {
        let first = first_of(link_type)?;
        py.detach(|| {
            let table = &mut self.lock()?.table;
            let mut batcher = Batcher::new(|packets: &[Packet<'_>]| table.packets(packets));
            for (time_ns, wire_length, frame) in &frames {
                batcher.push(Packet { frame, wire_length: *wire_length, time_ns: *time_ns, first, tag: None });
            }
            Ok(())
        })
    }

    #[pyo3(signature = (block, *, link_type=1))]
    fn block(&self, py: Python<'_>, block: PyBuffer<u8>, link_type: u32) -> PyResult<u32> {
        let first = first_of(link_type)?;
        let table =
            |state: &mut State, bytes: &[u8]| tpacket::each(bytes, first, |packets| state.table.packets(packets));
        self.reading(py, &block, table)?.ok_or_else(|| wrong("the block is no TPACKET_V3 block: it contradicts itself"))
    }

    #[pyo3(signature = (piece, *, until_ns=u64::MAX))]
    fn pcap(&self, py: Python<'_>, piece: PyBuffer<u8>, until_ns: u64) -> PyResult<u64> {
        let done = self.reading(py, &piece, |state, bytes| {
            let State { table, reader } = state;
            let waiting = reader.feed_until(bytes, until_ns, |packets| table.packets(packets))?;
            Ok(waiting.unwrap_or(reader.tally().newest_ns))
        })?;
        done.map_err(format_error)
    }

    fn pcap_end(&self) -> PyResult<()> {
        self.lock()?.reader.end().map_err(format_error)
    }

    #[pyo3(signature = (lines, *, operation="update"))]
    fn record(&self, py: Python<'_>, lines: &[u8], operation: &str) -> PyResult<usize> {
        let operation = match operation {
            "update" => Operation::Update,
            "replace" => Operation::Replace,
            other => return Err(wrong(format!("operation must be 'update' or 'replace', not {other:?}"))),
        };
        py.detach(|| {
            let mut records = Vec::new();
            for (number, line) in lines.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
                let counted = Counted::parse(line);
                records.push(counted.map_err(|reason| wrong(format!("record in line {}: {reason}", number + 1)))?);
            }
            let mut state = self.lock()?;
            for counted in &records {
                state.table.record(counted, operation);
            }
            Ok(records.len())
        })
    }

    #[pyo3(signature = (now_ms, *, most=None))]
    fn update(&self, py: Python<'_>, now_ms: u64, most: Option<u32>) -> PyResult<Batch> {
        self.batch(py, |table, emit| table.update(now_ms, most.unwrap_or(u32::MAX).max(1), emit))
    }

    #[pyo3(signature = (now_ms, *, most=None))]
    fn expire(&self, py: Python<'_>, now_ms: u64, most: Option<u32>) -> PyResult<Batch> {
        self.batch(py, |table, emit| table.expire(now_ms, most.unwrap_or(u32::MAX).max(1), emit))
    }

    fn flush(&self, py: Python<'_>, now_ms: u64) -> PyResult<Batch> {
        self.batch(py, |table, emit| {
            table.flush(now_ms, emit);
            false
        })
    }

    #[pyo3(signature = (*, filter=None, sort_by=None, descending=false, dedup_by=None, offset=0, limit=None))]
    #[allow(clippy::too_many_arguments)]
    fn flows(
        &self,
        py: Python<'_>,
        filter: Option<&[u8]>,
        sort_by: Option<&str>,
        descending: bool,
        dedup_by: Option<&str>,
        offset: usize,
        limit: Option<usize>,
    ) -> PyResult<Batch> {
        let query = query_of(filter, sort_by, descending, dedup_by, offset, limit)?;
        self.batch(py, |table, emit| {
            table.chosen(&table.choose(&query), emit);
            false
        })
    }

    #[pyo3(signature = (*, filter=None, sort_by=None, descending=false, dedup_by=None, offset=0, limit=None))]
    #[allow(clippy::too_many_arguments)]
    fn choose(
        &self,
        py: Python<'_>,
        filter: Option<&[u8]>,
        sort_by: Option<&str>,
        descending: bool,
        dedup_by: Option<&str>,
        offset: usize,
        limit: Option<usize>,
    ) -> PyResult<Chosen> {
        let query = query_of(filter, sort_by, descending, dedup_by, offset, limit)?;
        py.detach(|| Ok(Chosen { choices: self.lock()?.table.choose(&query) }))
    }

    #[pyo3(signature = (chosen, begin, end))]
    fn chosen(&self, py: Python<'_>, chosen: &Chosen, begin: usize, end: usize) -> PyResult<Batch> {
        let end = end.min(chosen.choices.len());
        let choices = &chosen.choices[begin.min(end)..end];
        self.batch(py, |table, emit| {
            table.chosen(choices, emit);
            false
        })
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (stats, unread) = {
            let state = self.lock()?;
            (state.table.stats(), state.reader.tally().unread)
        };
        let counted = PyDict::new(py);
        for (name, value) in stats.items() {
            counted.set_item(name, value)?;
        }
        counted.set_item("unread", unread)?;
        Ok(counted)
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.lock()?.table.len())
    }
}

fn query_of(
    filter: Option<&[u8]>,
    sort_by: Option<&str>,
    descending: bool,
    dedup_by: Option<&str>,
    offset: usize,
    limit: Option<usize>,
) -> PyResult<Query> {
    let filter = filter.map_or(Ok(Filter::All(Vec::new())), Filter::parse);
    Ok(Query {
        filter: filter.map_err(|reason| wrong(format!("wrong filter: {reason}")))?,
        sort_by: sort_by.map(Field::of),
        descending,
        dedup_by: dedup_by.map(Field::of),
        offset,
        limit: limit.unwrap_or(usize::MAX),
    })
}

fn wrong(reason: impl Into<String>) -> PyErr {
    PyValueError::new_err(reason.into())
}

impl Table {
    fn lock(&self) -> PyResult<MutexGuard<'_, State>> {
        self.state.lock().map_err(|_| PyRuntimeError::new_err("the table is broken: an earlier call failed inside it"))
    }

    fn reading<R: Send>(
        &self,
        py: Python<'_>,
        buffer: &PyBuffer<u8>,
        work: impl FnOnce(&mut State, &[u8]) -> R + Send,
    ) -> PyResult<R> {
        if !buffer.is_c_contiguous() {
            return Err(PyValueError::new_err("the buffer must be contiguous"));
        }
        let (address, length) = (buffer.buf_ptr() as usize, buffer.len_bytes());
        py.detach(|| {
            let bytes: &[u8] = if length == 0 {
                &[]
            } else {
                // SAFETY: the buffer is contiguous, `length` bytes long and exported for as long as `buffer` lives,
                // which is longer than this call.  Whoever lends it does not write to it meanwhile: bytes objects
                // cannot change, and a ring's block belongs to user space until it is given back.
                unsafe { std::slice::from_raw_parts(address as *const u8, length) }
            };
            Ok(work(&mut *self.lock()?, bytes))
        })
    }

    fn batch(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut FlowTable, &mut dyn FnMut(&Flow)) -> bool + Send,
    ) -> PyResult<Batch> {
        let (flows, raw, count, more) = py.detach(|| -> PyResult<_> {
            let (mut flows, mut raw, mut count) = (Vec::new(), Vec::new(), 0);
            let mut emit = |flow: &Flow| {
                count += 1;
                record::write(flow, &self.options, &mut flows);
                if let Some(extra) = &flow.extra {
                    record::write_raw(flow, &extra.raw, &mut raw);
                }
            };
            let more = work(&mut self.lock()?.table, &mut emit);
            Ok((flows, raw, count, more))
        })?;
        let (flows, raw_packets) = (PyBytes::new(py, &flows).unbind(), PyBytes::new(py, &raw).unbind());
        Ok(Batch { flows, raw_packets, count, more })
    }
}

fn first_of(link_type: u32) -> PyResult<First> {
    First::of_link_type(link_type)
        .ok_or_else(|| PyValueError::new_err(format!("link type {link_type} is not understood")))
}

fn format_error(error: FormatError) -> PyErr {
    PyValueError::new_err(format!("the capture {} (at byte {})", error.reason, error.offset))
}

/// What a capture file holds, packet by packet, for whoever plays it.
#[pyclass(frozen, module = "skycore_native")]
struct CaptureFile {
    reader: Mutex<Reader>,
}

/// Time in ns, length on the wire, link type, frame.
type Read = (u64, u64, u32, Py<PyBytes>);

#[pymethods]
impl CaptureFile {
    #[new]
    fn new() -> Self {
        Self { reader: Mutex::new(Reader::default()) }
    }

    fn feed(&self, py: Python<'_>, piece: &[u8]) -> PyResult<Vec<Read>> {
        let mut found = Vec::new();
        let done = self.reader()?.feed(piece, |packets| {
            found.extend(packets.iter().map(|one| {
                (one.time_ns, one.wire_length, one.first.link_type(), PyBytes::new(py, one.frame).unbind())
            }));
        });
        match done {
            // What came before the fault was good; the fault is told again.
            Err(error) if found.is_empty() => Err(format_error(error)),
            _ => Ok(found),
        }
    }

    fn end(&self) -> PyResult<()> {
        self.reader()?.end().map_err(format_error)
    }
}

impl CaptureFile {
    fn reader(&self) -> PyResult<MutexGuard<'_, Reader>> {
        self.reader.lock().map_err(|_| PyRuntimeError::new_err("the file is broken: an earlier call failed inside it"))
    }
}

/// Packets to flows.
#[pymodule]
#[pyo3(name = "_native")]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Table>()?;
    module.add_class::<Batch>()?;
    module.add_class::<Chosen>()?;
    module.add_class::<CaptureFile>()
}
