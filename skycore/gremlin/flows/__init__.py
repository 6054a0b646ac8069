"""The steps about flows, one module per family."""
