//! What a table is told, and what it counts of itself.

use crate::dissect::Ports;
use crate::identity::{KeyMode, Place};
use crate::names::Applications;

/// What a table is told once.
#[derive(Clone, Debug)]
pub struct Options {
    pub place: Place,
    pub mode: KeyMode,
    /// At most so many flows; beyond, those that were quiet longest leave early.
    pub max_flows: usize,
    /// So many packets of each flow are kept as they are.
    pub raw_packet_limit: u32,
    /// Bytes of a packet that are looked at and kept.
    pub header_size: usize,
    /// One packet in so many is counted; counters are not scaled.
    pub sampling: u32,
    /// TCPMetric with the times of connections.
    pub tcp_times: bool,
    /// TCPMetric with what became of segments.
    pub reassemble_tcp: bool,
    /// Fragments held to be put together, in bytes; 0: fragments are not put together.
    pub defragment_bytes: usize,
    /// Bits of [`crate::application::wanted`].
    pub extra_layers: u8,
    pub ports: Ports,
    pub applications: Applications,
    /// Whether any of the above needs more than counting; see [`Options::ready`].
    pub looks_closer: bool,
}

impl Options {
    /// Work out what follows from the others.
    pub fn ready(mut self) -> Self {
        self.looks_closer = self.raw_packet_limit > 0
            || self.tcp_times
            || self.reassemble_tcp
            || self.defragment_bytes > 0
            || self.extra_layers != 0;
        self
    }

    /// How many flows that left early wait for the next tick at most.
    pub fn most_left(&self) -> usize {
        (self.max_flows / 8).max(1024)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            place: Place::default(),
            mode: KeyMode::L2,
            max_flows: 500_000,
            raw_packet_limit: 0,
            header_size: usize::MAX,
            sampling: 1,
            tcp_times: false,
            reassemble_tcp: false,
            defragment_bytes: 0,
            extra_layers: 0,
            ports: Ports::default(),
            applications: Applications::default(),
            looks_closer: false,
        }
    }
}

macro_rules! stats {
    ($($(#[$about:meta])* $name:ident),* $(,)?) => {
        /// Counters of a table since it was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats { $($(#[$about])* pub $name: u64),* }

        impl Stats {
            /// Names and values.
            pub fn items(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

stats! {
    packets,
    /// On the wire.
    bytes,
    /// Packets in which no link or network layer was found.
    ignored,
    /// Packets that sampling left out.
    sampled_out,
    created,
    /// Flows that left early because the table was full; they are in the next batch.
    evicted,
    /// Those of them that are in no batch, because too many left between two ticks.
    lost,
    /// Fragments that waited for others of their datagram.
    fragments_held,
    /// Fragments that contradicted others or were cut; they count in a flow of fragments.
    fragments_refused,
    /// Held fragments whose datagram was never whole.
    fragments_lost,
    /// Counters of other sources that were taken, and those that were no flow.
    records,
}
