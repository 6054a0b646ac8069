"""Creates API objects one after the other and prints the ID of each as soon as that was answered, until killed."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import trio

from skycore.resource.contract import Resource
from skycore.resource.embedded import EmbeddedResources


async def main() -> None:
    store = EmbeddedResources(Path(sys.argv[1]))
    store.open()
    for number in itertools.count():
        await store.create(Resource("noderule", f"rule-{number}", b"{}", number))
        os.write(1, f"rule-{number}\n".encode())


trio.run(main)
