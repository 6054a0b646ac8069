"""Packets made by scapy and sent from an interface: a program (``python -m skydive_inject_scapy``), no library.

Licensed GPL-2.0-only, as scapy is.  It knows nothing of Skycore and is never imported by it: the two are programs that
exchange lines of JSON (README.md).
"""
