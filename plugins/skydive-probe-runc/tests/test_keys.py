"""The table of keys, and the README that is made from it."""

from __future__ import annotations

import re
from pathlib import Path

from skydive_probe_runc import keys

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_lists_every_key() -> None:
    found = re.search(r"<!-- keys: .*? -->\n\n(.*?)\n<!-- end of keys -->", README.read_text(), flags=re.DOTALL)
    assert found is not None
    assert found[1] == keys.markdown(), "run `python -m skydive_probe_runc.keys` and put its output into README.md"
