"""Tests of its panels; a package for the same reason."""
