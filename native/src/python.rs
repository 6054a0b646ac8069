//! What Python sees: `skycore_native.Table` and `skycore_native.Batch`.
#![allow(unsafe_code)]

use std::sync::{Mutex, MutexGuard};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::dissect::{First, Ports};
use crate::flow::Flow;
use crate::identity::{KeyMode, Place};
use crate::names::Applications;
use crate::pcap::{FormatError, Reader};
use crate::table::{FlowTable, Options};
use crate::{record, tpacket};

/// Flows and kept packets, as lines of JSON.
#[pyclass(frozen, module = "skycore_native")]
struct Batch {
    flows: Py<PyBytes>,
    raw_packets: Py<PyBytes>,
    count: usize,
}

#[pymethods]
impl Batch {
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

struct State {
    table: FlowTable,
    reader: Reader,
    tagged: Vec<u8>,
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
                        tcp_times=false, mpls_ports=vec![6635], tcp_names=vec![], udp_names=vec![], timeouts=vec![]))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        node_tid: &str,
        capture_id: &str,
        layer_key_mode: &str,
        max_flows: usize,
        raw_packet_limit: u32,
        tcp_times: bool,
        mpls_ports: Vec<u16>,
        tcp_names: Vec<(u16, String)>,
        udp_names: Vec<(u16, String)>,
        timeouts: Vec<(String, u64)>,
    ) -> PyResult<Self> {
        let mode = match layer_key_mode {
            "L2" => KeyMode::L2,
            "L3" => KeyMode::L3,
            other => return Err(PyValueError::new_err(format!("layer_key_mode must be 'L2' or 'L3', not {other:?}"))),
        };
        if max_flows == 0 || max_flows > u32::MAX as usize {
            return Err(PyValueError::new_err("max_flows must be from 1 to 4294967295"));
        }
        let options = Options {
            place: Place { node_tid: node_tid.to_owned(), capture_id: capture_id.to_owned() },
            mode,
            max_flows,
            raw_packet_limit,
            tcp_times,
            ports: Ports { mpls: mpls_ports, ..Ports::default() },
            applications: Applications::new(&tcp_names, &udp_names, &timeouts),
        };
        let state = State { table: FlowTable::new(options.clone()), reader: Reader::default(), tagged: Vec::new() };
        Ok(Self { state: Mutex::new(state), options })
    }

    /// Count one packet.  `link_type` is a LINKTYPE_ number.
    #[pyo3(signature = (frame, *, time_ns, wire_length=None, link_type=1))]
    fn packet(&self, py: Python<'_>, frame: PyBuffer<u8>, time_ns: u64, wire_length: Option<u64>, link_type: u32) -> PyResult<()> {
        let first = first_of(link_type)?;
        self.reading(py, &frame, |state, bytes| {
            state.table.packet(bytes, wire_length.unwrap_or(bytes.len() as u64), time_ns, first);
        })
    }

    /// Count the packets of one block of a TPACKET_V3 ring; returns their number.
    #[pyo3(signature = (block, *, link_type=1))]
    fn block(&self, py: Python<'_>, block: PyBuffer<u8>, link_type: u32) -> PyResult<u32> {
        let first = first_of(link_type)?;
        let count = self.reading(py, &block, |state, bytes| {
            let State { table, tagged, .. } = state;
            tpacket::each(bytes, |packet| match packet.vlan {
                Some(tag) if tpacket::with_tag(packet.frame, tag, first, tagged) => {
                    table.packet(tagged, packet.wire_length + 4, packet.time_ns, first);
                }
                _ => table.packet(packet.frame, packet.wire_length, packet.time_ns, first),
            })
        })?;
        count.ok_or_else(|| PyValueError::new_err("the block is no TPACKET_V3 block: an offset points outside of it"))
    }

    /// Count the packets in the next piece of a pcap or pcapng stream; returns the time of the last, in ns (0: none).
    ///
    /// Raises ValueError, saying at which byte, when the stream is damaged; packets before it were counted.
    fn pcap(&self, py: Python<'_>, piece: PyBuffer<u8>) -> PyResult<u64> {
        let (last, done) = self.reading(py, &piece, |state, bytes| {
            let State { table, reader, .. } = state;
            let mut last = 0;
            let done = reader.feed(bytes, |packet| {
                last = packet.time_ns;
                if let Some(first) = packet.first {
                    table.packet(packet.frame, packet.wire_length, packet.time_ns, first);
                }
            });
            (last, done)
        })?;
        done.map_err(format_error)?;
        Ok(last)
    }

    /// The pcap stream has ended.  Raises ValueError when it ended within a packet.
    fn pcap_end(&self) -> PyResult<()> {
        self.lock()?.reader.end().map_err(format_error)
    }

    /// The update tick at `now_ms`: what changed since the last one.
    fn update(&self, py: Python<'_>, now_ms: u64) -> PyResult<Batch> {
        self.batch(py, |table, emit| table.update(now_ms, emit))
    }

    /// The expire tick: flows that were quiet since `before_ms` end.
    fn expire(&self, py: Python<'_>, before_ms: u64) -> PyResult<Batch> {
        self.batch(py, |table, emit| table.expire(before_ms, emit))
    }

    /// End all flows; the table is empty after it.
    fn flush(&self, py: Python<'_>, now_ms: u64) -> PyResult<Batch> {
        self.batch(py, |table, emit| table.flush(now_ms, emit))
    }

    /// All flows as they stand.
    fn flows(&self, py: Python<'_>) -> PyResult<Batch> {
        self.batch(py, |table, emit| table.each(emit))
    }

    /// Counters since the table was made.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.lock()?.table.stats();
        let counted = PyDict::new(py);
        counted.set_item("packets", stats.packets)?;
        counted.set_item("bytes", stats.bytes)?;
        counted.set_item("ignored", stats.ignored)?;
        counted.set_item("created", stats.created)?;
        counted.set_item("evicted", stats.evicted)?;
        Ok(counted)
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.lock()?.table.len())
    }
}

impl Table {
    fn lock(&self) -> PyResult<MutexGuard<'_, State>> {
        self.state.lock().map_err(|_| PyRuntimeError::new_err("the table is broken: an earlier call failed inside it"))
    }

    fn reading<R: Send>(&self, py: Python<'_>, buffer: &PyBuffer<u8>, work: impl FnOnce(&mut State, &[u8]) -> R + Send) -> PyResult<R> {
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

    fn batch(&self, py: Python<'_>, work: impl FnOnce(&mut FlowTable, &mut dyn FnMut(&Flow)) + Send) -> PyResult<Batch> {
        let (flows, raw, count) = py.detach(|| -> PyResult<_> {
            let (mut flows, mut raw, mut count) = (Vec::new(), Vec::new(), 0);
            let mut emit = |flow: &Flow| {
                count += 1;
                record::write(flow, &self.options.applications, &self.options.place, &mut flows);
                if let Some(extra) = &flow.extra {
                    record::write_raw(flow, &extra.raw, &mut raw);
                }
            };
            work(&mut self.lock()?.table, &mut emit);
            Ok((flows, raw, count))
        })?;
        Ok(Batch { flows: PyBytes::new(py, &flows).unbind(), raw_packets: PyBytes::new(py, &raw).unbind(), count })
    }
}

fn first_of(link_type: u32) -> PyResult<First> {
    First::of_link_type(link_type).ok_or_else(|| PyValueError::new_err(format!("link type {link_type} is not understood")))
}

fn format_error(error: FormatError) -> PyErr {
    PyValueError::new_err(format!("the capture {} (at byte {})", error.reason, error.offset))
}

/// Packets to flows.
#[pymodule]
#[pyo3(name = "_native")]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Table>()?;
    module.add_class::<Batch>()
}
