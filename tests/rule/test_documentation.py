"""The examples of docs/rules.md, run one after the other over a small graph."""

from __future__ import annotations

import json
import re
from pathlib import Path

from skycore import gremlin
from tests.rule.ruled import ruled

_PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
_EXAMPLE = re.compile(r"```rule\nPOST /api/(\w+) (.*)\n(.*)\n(.*)\n```")


async def test_the_examples_hold(tmp_path: Path) -> None:
    text = _PAGE.read_text()
    examples = _EXAMPLE.findall(text)
    assert len(examples) == text.count("```rule") >= 4
    async with ruled(tmp_path) as world:
        for name in ("db1", "db2", "web1"):
            world.agent().put(name, {"Name": name, "Type": "device"})
        for kind, body, query, answer in examples:
            await world.apis[kind].create(json.loads(body))
            await world.settle()
            result = await gremlin.run(query, world.queries)
            found = json.loads(b"".join(result.json_chunks()))
            assert (sorted(found) if isinstance(found, list) else found) == json.loads(answer), query
