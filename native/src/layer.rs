//! Protocol layers and the path that they form.
//!
//! The names are those that Skydive's clients know from `LayersPath`; they come from gopacket's layer types.

macro_rules! layers {
    ($($name:ident),* $(,)?) => {
        /// One protocol layer of a packet.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        #[allow(clippy::upper_case_acronyms)]
        pub enum Layer { $($name),* }

        const NAMES: &[&str] = &[$(stringify!($name)),*];
        const ALL: &[Layer] = &[$(Layer::$name),*];
    };
}

layers! {
    Ethernet, Dot1Q, LLC, SNAP, STP, ARP, LinkLayerDiscovery, EAPOL, PPPoE, PPP, MPLS,
    IPv4, IPv6, IPv6HopByHop, IPv6Routing, IPv6Fragment, IPv6Destination, IPSecAH, IPSecESP, Fragment,
    TCP, UDP, UDPLite, SCTP, ICMPv4, ICMPv6, ICMPv6Echo,
    ICMPv6NeighborSolicitation, ICMPv6NeighborAdvertisement,
    ICMPv6RouterSolicitation, ICMPv6RouterAdvertisement, ICMPv6Redirect,
    MLDv1MulticastListenerQuery, MLDv1MulticastListenerReport, MLDv1MulticastListenerDone, MLDv2MulticastListenerReport,
    IGMP, OSPF, EtherIP, VRRP, GRE, VXLAN, Geneve, GTPv1U,
    DNS, DHCPv4, DHCPv6, NTP, BFD, SIP, SFlow,
}

impl Layer {
    /// The name in a `LayersPath`.
    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// From the name in a `LayersPath`.
    pub fn of_name(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|layer| layer.name() == name)
    }

    /// From its number.
    pub fn of(number: u16) -> Option<Self> {
        ALL.get(usize::from(number)).copied()
    }
}

const BITS: u32 = 6;
const MASK: u128 = (1 << BITS) - 1;
const MOST: u32 = 128 / BITS;

/// The layers of one flow from the outermost on; at most 21, further ones are left out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Path(u128);

impl Path {
    /// Append a layer.
    #[inline]
    pub fn push(&mut self, layer: Layer) {
        let used = self.len();
        if used < MOST {
            self.0 |= (layer as u128 + 1) << (used * BITS);
        }
    }

    /// How many layers there are.
    #[inline]
    pub fn len(self) -> u32 {
        (128 - self.0.leading_zeros()).div_ceil(BITS)
    }

    /// Whether there is no layer.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The layers, outermost first.
    pub fn layers(self) -> impl Iterator<Item = Layer> {
        (0..self.len()).map(move |at| ALL[((self.0 >> (at * BITS)) & MASK) as usize - 1])
    }

    /// The innermost layer.
    pub fn last(self) -> Option<Layer> {
        self.layers().last()
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, layer) in self.layers().enumerate() {
            if at > 0 {
                out.write_str("/")?;
            }
            out.write_str(layer.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_its_layers() {
        let mut path = Path::default();
        assert!(path.is_empty());
        for layer in [Layer::Ethernet, Layer::IPv4, Layer::SFlow] {
            path.push(layer);
        }
        assert_eq!(path.to_string(), "Ethernet/IPv4/SFlow");
        assert_eq!(path.last(), Some(Layer::SFlow));
    }

    #[test]
    fn a_path_keeps_the_first_layers_when_there_are_too_many() {
        let mut path = Path::default();
        for _ in 0..40 {
            path.push(Layer::Dot1Q);
        }
        assert_eq!(path.len(), MOST);
        assert!(ALL.len() < MASK as usize);
    }
}
