"""Tests of the Web UI; a package, as fixtures live as long as one (see conftest.py)."""
