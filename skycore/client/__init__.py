"""A small client of the REST API, for the command line and for scripts."""

from skycore.client.access import Access
from skycore.client.http import Client

__all__ = ["Access", "Client"]
