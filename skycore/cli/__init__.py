"""The commands that a person types: `skycore …`, and the same as `skydive …`."""
