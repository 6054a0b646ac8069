"""Figures, each printed by one command; see docs/benchmarks.md."""
