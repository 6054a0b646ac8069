//! Packets to flows.
//!
//! This crate takes bytes and gives records; it opens nothing, starts no thread and reads no clock.
//! [`dissect`] takes a frame apart, [`identity`] says which flow each part belongs to, [`table`] counts,
//! [`record`] writes what was counted as JSON, [`pcap`] reads capture files, [`tpacket`] the kernel's rings.
//! The only `unsafe` is in [`python`], where a Python buffer becomes a slice.

#![deny(unsafe_code)]

mod bytes;
pub mod dissect;
pub mod flow;
pub mod identity;
pub mod layer;
pub mod names;
pub mod pcap;
pub mod record;
pub mod section;
pub mod table;
pub mod tpacket;

#[cfg(feature = "python")]
mod python;
