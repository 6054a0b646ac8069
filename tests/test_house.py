"""The house around the code: documents that tell the truth, plugins of one shape, imports in one direction."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import skycore as package
from skycore.cli.main import skycore, skydive
from skycore.cli.skydive import PersistentGroup
from skycore.config import Enabled, load
from skycore.role.sections import plugin_sections as sections_of_enabled

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "native"
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if path.is_dir())
PROGRAMS: dict[str, click.Command] = {"skycore": skycore, "skydive": skydive}
LEFT_OUT = {"__pycache__", "build", "dist", "node_modules", "target"}


def files(suffix: str = "", under: Path = ROOT) -> Iterator[Path]:
    """The files of the repository: no caches, environments or build results, and no hidden folder but `.ci`."""
    for path in sorted(under.iterdir()):
        if path.is_dir():
            if path.name not in LEFT_OUT and (not path.name.startswith(".") or path.name == ".ci"):
                yield from files(suffix, path)
        elif path.name.endswith(suffix):
            yield path


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def pyproject(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


# Documents


DOCUMENTS = list(files(".md"))


def prose(document: Path) -> str:
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The fragments by which the headings of a document can be linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*?) *$", prose(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_relative_links_lead_somewhere(document: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        aim = (document.parent / path).resolve() if path else document
        if not aim.exists() or (fragment and fragment not in anchors(aim)):
            dead.append(target)
    assert dead == []


def test_every_page_can_be_found_from_the_index() -> None:
    seen: set[Path] = set()
    ahead = [ROOT / "docs" / "index.md"]
    while ahead:
        page = ahead.pop()
        if page in seen:
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", prose(page))
        ahead += [(page.parent / link).resolve() for link in links if (page.parent / link).is_file()]
    assert {named(page) for page in files(".md", ROOT / "docs")} <= {named(page) for page in seen}


def console_lines() -> list[Any]:
    lines = []
    for document in DOCUMENTS:
        for block in re.findall(r"^```console\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith(("$ ", "# ")):
                    lines.append(pytest.param(line[2:], id=f"{named(document)}: {line[2:40]}"))
    return lines


def simple_commands(line: str) -> list[list[str]]:
    """The simple commands of a shell line, without redirections, and without assignments and `sudo` before them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("<>"):
            next(lexer)
        elif set(word) <= set("|&;"):
            commands.append([])
        elif commands[-1] or not re.fullmatch(r"\w+=.*|sudo", word):
            commands[-1].append(word)
    return commands


def check_usage(command: click.Command, words: list[str], ctx: click.Context) -> None:
    """Parse a command line as click would, down through the groups, without converting values or running anything.

    Raises click.UsageError for an unknown command or option, a missing or a superfluous argument.
    """
    values, rest, _ = command.make_parser(ctx).parse_args(list(words))
    if isinstance(command, click.Group):
        name = rest[0] if rest else ""
        inner = command.get_command(ctx, name)
        if inner is None:
            if not rest and ("help" in values or "version" in values):
                return
            raise click.UsageError(f"no command {name!r} in {ctx.command_path!r}", ctx)
        check_usage(inner, rest[1:], click.Context(inner, parent=ctx, info_name=name))
        return
    if rest:
        raise click.UsageError(f"unexpected {rest}", ctx)
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and parameter.required and parameter.name not in _given(values):
            raise click.UsageError(f"missing {parameter.name}", ctx)


def _given(values: dict[str, Any]) -> set[str]:
    return {name for name, value in values.items() if isinstance(value, str) or (isinstance(value, tuple) and value)}


def check_line(line: str) -> None:
    for words in simple_commands(line):
        name = Path(words[0]).name if words else ""
        if name in PROGRAMS:
            check_usage(PROGRAMS[name], words[1:], click.Context(PROGRAMS[name], info_name=name))
        elif words[:1] == ["./task"]:
            assert words[1] in task_commands(), f"./task has no command {words[1]}"
            if words[1] == "run":
                check_line(shlex.join(["skycore", "run", "--role", "allinone", *words[2:]]))


def task_commands() -> set[str]:
    text = subprocess.run([ROOT / "task", "help"], capture_output=True, text=True, check=True, timeout=30).stdout
    return set(re.findall(r"^  ([a-z-]+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize("line", console_lines())
def test_shown_commands_exist(line: str) -> None:
    check_line(line)


@pytest.mark.parametrize(
    "line",
    [
        "skycore queery G",
        "skycore",
        "skycore query",
        "skycore query G V",
        "skycore query G --colour",
        "A=1 sudo .venv/bin/skydive client status now",
        "ip link | skydive client query G --bad",
    ],
)
def test_wrong_commands_are_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        check_line(line)


def commands(group: click.Group, ctx: click.Context) -> Iterator[tuple[str, click.Command | None]]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        path = f"{ctx.command_path} {name}"
        yield path, command
        if isinstance(command, click.Group):
            yield from commands(command, click.Context(command, parent=ctx, info_name=name))


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_can_be_imported_and_explains_itself(program: str) -> None:
    group = PROGRAMS[program]
    assert isinstance(group, click.Group)
    found = dict(commands(group, click.Context(group, info_name=program)))
    assert len(found) > 4
    for path, command in found.items():
        assert command is not None, path
        assert command.help, path
    assert isinstance(skydive, PersistentGroup)


def test_task_help_lists_every_command() -> None:
    cases = re.search(r"^case \$command in\n(.*?)^esac", (ROOT / "task").read_text(), re.MULTILINE | re.DOTALL)
    assert cases
    written = set(re.findall(r"^    ([a-z-]+)(?: \| [^)]*)?\)", cases[1], flags=re.MULTILINE))
    assert written == task_commands()


# Text


def test_nothing_refers_to_what_is_not_in_the_repository() -> None:
    outside = re.compile(r"(?:^|[\s`'\"(=/.])" + "shared" + r"/|/" + "work/")
    found = []
    for path in files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{named(path)}:{number}" for number, line in enumerate(text.splitlines(), 1) if outside.search(line)]
    assert found == []


def test_licence() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    for folder in (ROOT, NATIVE, *PLUGINS):
        licence = "GPL-2.0-only" if folder.name == "skydive-inject-scapy" else "Apache-2.0"
        assert pyproject(folder)["project"]["license"] == licence, folder


def test_one_version() -> None:
    versions = {named(folder / "x"): pyproject(folder)["project"]["version"] for folder in (ROOT, NATIVE, *PLUGINS)}
    versions["crate"] = tomllib.loads((NATIVE / "Cargo.toml").read_text())["package"]["version"]
    assert set(versions.values()) == {package.__version__}, versions


def modules(folder: Path) -> list[Path]:
    return [path for path in files(".py", folder) if not path.name.startswith("_") or path.name == "__init__.py"]


@pytest.mark.parametrize("folder", [ROOT / "skycore", *PLUGINS], ids=named)
def test_public_modules_say_what_they_are(folder: Path) -> None:
    assert [named(path) for path in modules(folder) if not ast.get_docstring(ast.parse(path.read_text()))] == []


# Plugins


@pytest.mark.parametrize("plugin", PLUGINS, ids=named)
def test_plugin_has_its_parts(plugin: Path) -> None:
    module = plugin.name.replace("-", "_")
    for part in ("pyproject.toml", "README.md", "sample.yml", "tests", f"{module}/__init__.py", f"{module}/py.typed"):
        assert (plugin / part).exists(), f"{named(plugin)}/{part} is missing"
    assert list((plugin / "tests").glob("test_*.py")), f"{named(plugin)} has no tests"
    assert len((plugin / "README.md").read_text()) > 300, f"{named(plugin)}/README.md does not explain the plugin"


@pytest.mark.parametrize("plugin", PLUGINS, ids=named)
def test_plugin_is_a_package_of_its_own(plugin: Path) -> None:
    module = plugin.name.replace("-", "_")
    meta = pyproject(plugin)
    project = meta["project"]
    assert project["name"] == plugin.name
    assert project["requires-python"] == pyproject(ROOT)["project"]["requires-python"]
    groups = project["entry-points"]
    # An injector is a program of its own, maybe of another licence: it needs nothing of Skycore to run.
    assert ("skycore" in project["dependencies"]) == ("skycore.injector" not in groups)
    assert not [name for name in project["dependencies"] if name.startswith("skydive")]
    assert meta["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [module]
    assert set(groups) <= {"skycore.probe", "skycore.flow", "skycore.storage", "skycore.auth", "skycore.injector"}
    for group in groups.values():
        for target in group.values():
            assert target.split(":")[0].split(".")[0] == module


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of whatever a file imports; relative imports stay in their package and are left out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            if node.module == "skycore":
                yield from ((node.lineno, f"skycore.{name.name}") for name in node.names)
            else:
                yield node.lineno, node.module


def foreign_imports(path: Path, plugin: Path) -> list[str]:
    allowed = set() if plugin.name.startswith("skydive-inject-") else {"skycore.plugin"}
    if path.is_relative_to(plugin / "tests"):
        allowed.add("skycore.testing")
    wrong = []
    for line, name in imported(path):
        room = ".".join(name.split(".")[:2])
        ours = name.split(".")[0] == "skycore"
        others = name.startswith("skydive_") and name.split(".")[0] != plugin.name.replace("-", "_")
        private = ours and any(part.startswith("_") for part in name.split("."))
        if others or private or (ours and room not in allowed) or name.startswith("skycore.plugin."):
            wrong.append(f"{path.name}:{line}: {name}")
    return wrong


@pytest.mark.parametrize("plugin", PLUGINS, ids=named)
def test_plugin_imports_only_the_public_contract(plugin: Path) -> None:
    assert [wrong for path in files(".py", plugin) for wrong in foreign_imports(path, plugin)] == []


def test_wrong_imports_of_a_plugin_are_noticed(tmp_path: Path) -> None:
    plugin = tmp_path / "skydive-probe-x"
    (plugin / "tests").mkdir(parents=True)
    text = (
        "import skycore.graph.element\nfrom skycore import bus\nimport skydive_probe_y\n"
        "from skycore.plugin.api import A\nimport skycore.testing\n"
        "from skycore.plugin import B\nimport skydive_probe_x.z\n"
    )
    for name, expected in (("code.py", [1, 2, 3, 4, 5]), ("tests/test_code.py", [1, 2, 3, 4])):
        (plugin / name).write_text(text)
        lines = [int(wrong.split(":")[1]) for wrong in foreign_imports(plugin / name, plugin)]
        assert lines == expected


def test_the_core_imports_no_plugin() -> None:
    wrong = [
        f"{named(path)}:{line}"
        for path in files(".py", ROOT / "skycore")
        for line, name in imported(path)
        if name.startswith("skydive_")
    ]
    assert wrong == []


@pytest.mark.parametrize("plugin", PLUGINS, ids=named)
def test_sample_of_a_plugin_is_right(plugin: Path) -> None:
    sections: dict[str, type] = {}

    def plugin_sections(enabled: Enabled) -> dict[str, type]:
        found, failures = sections_of_enabled(enabled)
        assert failures == []
        sections.update(found)
        return found

    loaded = load([str(plugin / "sample.yml")], {}, plugin_sections)
    (entry_points,) = pyproject(plugin)["project"]["entry-points"].values()
    assert not [str(ignored) for ignored in loaded.ignored]
    # The lines of fabric stand in a key of ours, as Skydive's users write them.
    lines = "fabric" in entry_points and loaded.config.analyzer.topology.fabric
    # And so do the settings of ovsdb, in a section of their own.
    switch = "ovsdb" in entry_points and "ovs" in sections
    # An injector has none of its own: its agent's say how fast it may be.
    injector = loaded.config.agent.injection.injector in entry_points
    own = any(section.endswith(f".{name}") for section in sections for name in entry_points)
    assert lines or switch or injector or own


# The import gate


def test_every_room_has_its_contract() -> None:
    contracts = pyproject(ROOT)["tool"]["importlinter"]["contracts"]
    protected = {name for contract in contracts for name in contract["protected_modules"]}
    # What has no Python, as the web pages, imports nothing.
    entries = (path for path in (ROOT / "skycore").iterdir() if path.suffix == ".py" or any(path.rglob("*.py")))
    rooms = {f"skycore.{path.stem}" for path in entries if not path.name.startswith(("_", "."))}
    assert rooms - protected == {"skycore.errors"}


def test_the_import_gate_notices(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "skycore", tmp_path / "skycore", ignore=shutil.ignore_patterns("__pycache__"))
    wrong = (("gremlin", "storage"), ("storage", "client"), ("role", "cli"), ("bus", "config"))
    for room, importer in wrong:
        (tmp_path / "skycore" / importer / "wrong.py").write_text(f"import skycore.{room}\n")
    gate = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [gate, "--no-logo", "--no-cache"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    for room, importer in wrong:
        assert f"skycore.{importer}.wrong -> skycore.{room} (l.1)" in done.stdout
