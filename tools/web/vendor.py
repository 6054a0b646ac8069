"""Copy the Web UI's modules out of the packages that `package-lock.json` pins, and write down what was taken.

`./task vendor` runs it after `npm ci`, which checks each package against the checksum in the lock.  A file is changed
in two ways only: imports by name become imports by path, since pages have no other way of finding them without an
inline import map, and references to source maps go, since these are not shipped.  `PINNED.json` holds the version, the
package's checksum and the SHA-256 of each file as it is served; `tests/web/test_files.py` compares.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Final

TOOLS: Final = Path(__file__).resolve().parent
VENDOR: Final = TOOLS.parents[1] / "skycore" / "web" / "vendor"
FILES: Final = {
    "preact": {"dist/preact.mjs": "preact.js", "hooks/dist/hooks.mjs": "hooks.js", "LICENSE": "preact.LICENSE"},
    "htm": {"dist/htm.mjs": "htm.js", "LICENSE": "htm.LICENSE"},
    "uplot": {"dist/uPlot.esm.js": "uplot.js", "dist/uPlot.min.css": "uplot.css", "LICENSE": "uplot.LICENSE"},
    "d3-force": {"dist/d3-force.min.mjs": "d3-force.js", "LICENSE": "d3-force.LICENSE"},
    "d3-quadtree": {"dist/d3-quadtree.min.mjs": "d3-quadtree.js", "LICENSE": "d3-quadtree.LICENSE"},
    "d3-dispatch": {"dist/d3-dispatch.min.mjs": "d3-dispatch.js", "LICENSE": "d3-dispatch.LICENSE"},
    "d3-timer": {"dist/d3-timer.min.mjs": "d3-timer.js", "LICENSE": "d3-timer.LICENSE"},
}
"""Package → file in it → name in `vendor/`."""
_IMPORT: Final = re.compile(r"""(\bfrom\s*|\bimport\s*)(["'])([a-z][\w-]*)\2""")
_SOURCE_MAP: Final = re.compile(r"^//# sourceMappingURL=.*\n?", re.MULTILINE)


def served(text: str) -> str:
    """A module as pages can load it."""
    return _IMPORT.sub(r"\1\2./\3.js\2", _SOURCE_MAP.sub("", text))


def main() -> None:
    """Fill `vendor/`; what is there of an older list goes."""
    lock = json.loads((TOOLS / "package-lock.json").read_text())["packages"]
    pinned = {}
    written = {"PINNED.json"}
    for package, files in FILES.items():
        entry = lock[f"node_modules/{package}"]
        hashes = {}
        for source, name in files.items():
            text = (TOOLS / "node_modules" / package / source).read_text()
            content = (served(text) if name.endswith(".js") else text).encode()
            (VENDOR / name).write_bytes(content)
            hashes[name] = hashlib.sha256(content).hexdigest()
        written |= set(hashes)
        pinned[package] = {
            "version": entry["version"],
            "licence": entry["license"],
            "integrity": entry["integrity"],
            "files": hashes,
        }
    for path in VENDOR.iterdir():
        if path.name not in written and not path.name.endswith(".d.ts"):
            path.unlink()
    (VENDOR / "PINNED.json").write_text(json.dumps(pinned, indent=2) + "\n")
    sys.stdout.write(f"{len(written)} files in {VENDOR}\n")


if __name__ == "__main__":
    main()
