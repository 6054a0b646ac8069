"""Rules: what users say of the graph, kept in line with it as it changes."""
