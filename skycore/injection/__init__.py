"""Packets made on demand: what is asked of an agent, and how it is carried out there."""
