"""The table of steps in docs/gremlin.md, made from the registry.

``python -m skycore.gremlin.documentation docs/gremlin.md`` writes it anew.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from skycore.gremlin.operation import Kind
from skycore.gremlin.registry import StepRegistry
from skycore.gremlin.steps import core_registry

_START: Final = "<!-- steps: made by `python -m skycore.gremlin.documentation docs/gremlin.md` -->\n"
_END: Final = "<!-- end of steps -->\n"
_KINDS: Final[dict[Kind, str]] = {"graph": "`G`"}


def steps_table(registry: StepRegistry) -> str:
    """A Markdown table of all steps, one a line."""
    lines = ["| Step | After | Gives | Meaning |", "|---|---|---|---|"]
    for definition in registry:
        aliases = "".join(f", `{alias}`" for alias in definition.aliases)
        gives = list(dict.fromkeys(definition.gives.values()))
        # A step that gives what it takes is said once.
        same = all(taken == given for taken, given in definition.gives.items()) and len(gives) > 1
        parameters = definition.parameters.replace("|", r"\|")
        lines.append(
            f"| `{definition.name}{parameters}`{aliases} | {', '.join(map(_kind, definition.gives))} "
            f"| {'the same' if same else ', '.join(map(_kind, gives))} | {definition.summary} |"
        )
    return "\n".join(lines) + "\n"


def with_steps(page: str, registry: StepRegistry) -> str:
    """The page with its table of steps brought up to date.  Raises ValueError when it has no place for one."""
    before, start, rest = page.partition(_START)
    _, end, after = rest.partition(_END)
    if not start or not end:
        raise ValueError("the page has no marked place for the table of steps")
    return f"{before}{start}{steps_table(registry)}{end}{after}"


def _kind(kind: Kind) -> str:
    return _KINDS.get(kind, kind)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_steps(page.read_text(), core_registry()))
