//! Packets to flows.
//!
//! This crate takes bytes and gives records; it opens nothing, starts no thread and reads no clock.
//! [`pcap`] reads capture files, [`tpacket`] the kernel's rings; [`dissect`] takes a frame apart, [`identity`] says
//! which flow each part belongs to, [`table`] counts, [`ticks`] say when a flow is sent and ends, [`record`] writes what
//! was counted as JSON.  [`counted`] takes counters of other sources, [`query`] chooses among live flows.
//! The only `unsafe` is in [`python`], where a Python buffer becomes a slice.

#![deny(unsafe_code)]

pub mod application;
mod bytes;
mod community;
pub mod counted;
pub mod defrag;
pub mod dissect;
mod extent;
pub mod fields;
pub mod flow;
pub mod identity;
pub mod layer;
pub mod names;
pub mod options;
pub mod packet;
pub mod pcap;
pub mod query;
pub mod record;
pub mod section;
mod slab;
pub mod stream;
pub mod table;
pub mod ticks;
pub mod tpacket;

#[cfg(feature = "python")]
mod python;
