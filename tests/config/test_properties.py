"""Any text is a configuration or a list of problems with real places; merging is the plain merging of maps."""

from __future__ import annotations

import io
import json
import re
import time
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from skycore.config import load, to_public
from skycore.config.document import Where, from_plain, merge, plain, read
from skycore.config.values import HIDDEN
from skycore.errors import ConfigurationError, Problem

WORDS = [
    "agent", "analyzer", "flow", "storage", "auth", "ui", "listen", "expire", "topology", "probes", "driver", "type",
    "elasticsearch", "basic", "backend", "peers", "b", "docker", "url", "application_ports", "tcp", "80", "no", "0",
    "1.5", ".inf", "0x1f",
    "null", "~", "<<", "&a", "*a", "!!int", "!x", "[", "]", "{", "}", ":", ": ", "- ", ", ", "\n",
    "\n  ", "\n    ", "'", '"', "|", ">", "#", "%YAML 1.2", "---",
    "...", "\t", "\r", "\u2028", "\x85", "é", "\ufeff", "\x00",
]  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from(WORDS), max_size=40).map("".join),
    st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text(max_size=8)
)
NAMES = st.sampled_from([word for word in WORDS if word.isidentifier()])
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)
MAPS = st.dictionaries(NAMES, TREES, max_size=5)


def check_places(problems: tuple[Problem, ...], text: str) -> None:
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text.removeprefix("\ufeff"))
    assert problems
    for problem in problems:
        assert problem.file == "<stdin>"
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
        assert problem.message


def attempt(text: str) -> None:
    started = time.process_time()
    try:
        loaded = load(["-"], {}, stdin=io.BytesIO(text.encode("utf-8", "surrogatepass")))
    except ConfigurationError as error:
        check_places(error.problems, text)
    else:
        json.dumps(to_public(loaded.config), allow_nan=False)
    assert time.process_time() - started < 5


@given(TEXTS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example("a: &a\n  <<: *a\n")
@example("\ufeffa: b: c")
@example("? ")
@example("{")
@example("- \u2028- : x\x85 y: [")
def test_any_text(text: str) -> None:
    attempt(text)


@given(MAPS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_tree(tree: dict[str, Any]) -> None:
    attempt(yaml.safe_dump(tree, allow_unicode=True))


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    node, problems = read(data, "f")
    assert node is not None or len(problems) == 1


def naive(earlier: Any, later: Any) -> Any:
    if later is None:
        return earlier
    if not isinstance(earlier, dict) or not isinstance(later, dict):
        return later
    return {
        key: naive(earlier[key], later[key]) if key in earlier and key in later else {**earlier, **later}[key]
        for key in {**earlier, **later}
    }


@given(MAPS, MAPS)
@settings(max_examples=200, deadline=None)
def test_merging(earlier: dict[str, Any], later: dict[str, Any]) -> None:
    merged = merge(from_plain(earlier, Where("a")), from_plain(later, Where("b")))
    assert plain(merged) == naive(earlier, later)


@given(MAPS, MAPS, MAPS)
@settings(max_examples=50, deadline=None)
def test_merging_with_itself_changes_nothing(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    first, second = from_plain(a, Where("a")), from_plain(b, Where("b"))
    once = merge(first, second)
    assert plain(merge(once, second)) == plain(once)


PORTS = st.integers(0, 65535)
VALID = st.fixed_dictionaries(
    {},
    optional={
        "host_id": st.from_regex(r"[A-Za-z0-9.:_-]{1,40}", fullmatch=True),
        "analyzers": st.lists(PORTS.map(lambda port: f"10.0.0.1:{port}"), max_size=3),
        "agent": st.fixed_dictionaries(
            {},
            optional={
                "listen": PORTS.map(lambda port: f"[::1]:{port}"),
                "metadata": st.dictionaries(
                    st.text("aB.é", min_size=1, max_size=4), st.integers(0, 9) | st.text("no1: "), max_size=3
                ),
                "topology": st.fixed_dictionaries({"probes": st.lists(st.sampled_from(["docker", "-netlink"]))}),
            },
        ),
        "flow": st.fixed_dictionaries(
            {},
            optional={
                "expire": st.integers(1, 10**9) | st.floats(0.001, 1e9),
                "max_entries": st.integers(1, 2**63 - 1),
                "protocol": st.sampled_from(["udp", "websocket"]),
                "application_ports": st.fixed_dictionaries(
                    {"tcp": st.dictionaries(PORTS.map(str), st.text("ab0"), max_size=3)}
                ),
            },
        ),
        "logging": st.fixed_dictionaries({"color": st.booleans(), "level": st.sampled_from(["INFO", "DEBUG"])}),
        "storage": st.dictionaries(
            st.sampled_from(["x", "y-1"]), st.fixed_dictionaries({"driver": st.just("embedded"), "path": st.just("/p")})
        ),
    },
)  # fmt: skip


@given(VALID)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_valid_configurations_come_back(written: dict[str, Any]) -> None:
    loaded = load(["-"], {}, stdin=io.BytesIO(yaml.safe_dump(written, allow_unicode=True).encode()))
    public = to_public(loaded.config)

    def contained(part: Any, whole: Any) -> bool:
        if isinstance(part, dict):
            return isinstance(whole, dict) and all(key in whole and contained(part[key], whole[key]) for key in part)
        return bool(part == whole)

    assert contained(written, public)
    # What was shown can be loaded again and says the same.
    del public["auth"]
    hidden = json.dumps(public).replace(f'"{HIDDEN}"', '""').replace("null", '""')
    again = json.loads(hidden)
    for stream in ("stderr", "stdout", "file", "syslog"):
        del again["logging"][stream]
    repeated = to_public(load(["-"], {}, stdin=io.BytesIO(json.dumps(again).encode())).config)
    for shown in (public, repeated):
        shown.pop("auth", None)
        shown["storage"].pop("orientdb")
    assert repeated == public
