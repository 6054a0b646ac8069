"""History: the contract of stores, the one that needs nothing installed, and what carries the graph to it."""
