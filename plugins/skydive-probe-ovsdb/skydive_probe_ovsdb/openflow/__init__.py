"""OpenFlow: the rules and groups of bridges, asked natively or through ovs-ofctl."""
