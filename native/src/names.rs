//! What application a flow belongs to: its innermost layer, or the name that configuration gives to a port.

use std::collections::HashMap;

use crate::layer::Layer;
use crate::section::{Section, Transport};

// Numbers below are those of layers.
const FIRST_CONFIGURED: u16 = 256;

/// Names of applications by number, and how long each may be quiet.
#[derive(Clone, Debug, Default)]
pub struct Applications {
    tcp: HashMap<u16, u16>,
    udp: HashMap<u16, u16>,
    names: Vec<String>,
    timeouts_ms: HashMap<u16, u64>,
}

impl Applications {
    /// From `flow.application_ports` (port and name) and `flow.application_timeout` (name and seconds).
    pub fn new(tcp: &[(u16, String)], udp: &[(u16, String)], timeouts: &[(String, u64)]) -> Self {
        let mut made = Self::default();
        for (port, name) in tcp {
            let number = made.number(name);
            made.tcp.insert(*port, number);
        }
        for (port, name) in udp {
            let number = made.number(name);
            made.udp.insert(*port, number);
        }
        for (name, seconds) in timeouts.iter().filter(|(_, seconds)| *seconds > 0) {
            for number in made.numbers_of(name) {
                made.timeouts_ms.insert(number, seconds * 1000);
            }
        }
        made
    }

    fn number(&mut self, name: &str) -> u16 {
        let name = name.to_uppercase();
        let at = self.names.iter().position(|each| *each == name).unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        FIRST_CONFIGURED + at as u16
    }

    fn numbers_of(&self, name: &str) -> Vec<u16> {
        let layers = (0..FIRST_CONFIGURED)
            .filter(|number| Layer::of(*number).is_some_and(|l| l.name().eq_ignore_ascii_case(name)));
        let configured = self.names.iter().position(|each| each.eq_ignore_ascii_case(name));
        layers.chain(configured.map(|at| FIRST_CONFIGURED + at as u16)).collect()
    }

    /// The application of a flow that begins with this section.
    pub fn of(&self, section: &Section) -> u16 {
        let ports = match section.transport {
            Transport::Tcp => &self.tcp,
            Transport::Udp => &self.udp,
            _ => return layer_number(section),
        };
        [section.source_port, section.destination_port]
            .iter()
            .find_map(|port| ports.get(port).copied())
            .unwrap_or_else(|| layer_number(section))
    }

    /// The name of a number.
    pub fn name(&self, number: u16) -> &str {
        match Layer::of(number) {
            Some(layer) => layer.name(),
            None => self.names.get(usize::from(number.wrapping_sub(FIRST_CONFIGURED))).map_or("", String::as_str),
        }
    }

    /// How long a flow of this application may be quiet, in ms.
    #[inline]
    pub fn timeout_ms(&self, number: u16) -> Option<u64> {
        self.timeouts_ms.get(&number).copied()
    }
}

fn layer_number(section: &Section) -> u16 {
    section.path.last().map_or(u16::MAX, |layer| layer as u16)
}
