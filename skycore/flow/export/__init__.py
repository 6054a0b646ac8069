"""Flows and packets for collectors of others: NetFlow v5, IPFIX, ERSPAN."""
