"""Skycore: see what a network is made of and what flows through it, live and back in time."""

__version__ = "0.1.0"
