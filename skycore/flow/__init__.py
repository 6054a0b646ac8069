"""Flows: what captures are, where their packets come from, and what becomes of them on an agent."""
