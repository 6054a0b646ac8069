"""From the configuration to gatekeepers, and what stops a start."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner, Result
from starlette.datastructures import Headers, QueryParams

from skycore.cli.main import skycore
from skycore.config import Config, Loaded, load
from skycore.config.schema import RBAC
from skycore.errors import ConfigurationError, ListenRefused
from skycore.role import access
from skycore.role.sections import plugin_sections
from skycore.server.access import Caller
from skycore.server.auth import htpasswd
from skycore.server.auth.guard import Guard, OpenGate
from skycore.server.auth.policy import Policy


def read(text: str) -> Loaded:
    return load(["-"], stdin=io.BytesIO(text.encode()), plugin_sections=lambda enabled: plugin_sections(enabled)[0])


def config(text: str) -> Config:
    return read(text).config


CALLER = Caller("GET", "/api", Headers(), QueryParams(""), ("127.0.0.1", 1), False)
BASIC = "auth: {basic: {users: {bob: secret}}}\n"


async def test_what_is_open_and_what_is_guarded() -> None:
    made = access.gates(config(""), "analyzer")
    assert isinstance(made.api, OpenGate)
    assert made.cluster is None
    guarded = config(BASIC + "analyzer: {auth: {api: {backend: basic}, cluster: {backend: basic}}}\n")
    made = access.gates(guarded, "analyzer")
    assert isinstance(made.api, Guard)
    assert isinstance(made.cluster, Guard)
    assert isinstance(access.gates(guarded, "agent").api, OpenGate)


async def test_everybody_can_be_a_guest() -> None:
    made = access.gates(config("auth: {noauth: {role: guest}}\n"), "agent").api
    identity = (await made.admit(CALLER))[0]
    assert identity.roles == ("guest",)
    assert made.allows(identity, "topology", "read")
    assert not made.allows(identity, "websocket", "/ws/publisher")


async def test_the_policy_also_rules_where_everybody_is_admin() -> None:
    rule = 'rbac: {policy: ["p, admin, capture, write, deny"]}\n'
    analyzer = access.gates(config(rule), "analyzer").api
    admin = (await analyzer.admit(CALLER))[0]
    assert not analyzer.allows(admin, "capture", "write")
    assert analyzer.allows(admin, "capture", "read")


@pytest.mark.parametrize(
    ("text", "part", "words"),
    [
        ("agent: {listen: 0.0.0.0:1}", "agent", "agent.auth.api.backend"),
        ('agent: {listen: "[::]:1"}', "agent", "agent.auth.api.backend"),
        ("analyzer: {listen: box:1}", "analyzer", "cluster.token_file"),
        (BASIC + "analyzer: {listen: box:1, auth: {api: {backend: basic}}}", "analyzer", "cluster.token_file"),
        ("analyzer: {listen: box:1}\ncluster: {token_file: /t}", "analyzer", "analyzer.auth.api.backend"),
    ],
)
def test_others_are_not_let_in_by_nobody(text: str, part: access.Part, words: str) -> None:
    with pytest.raises(ListenRefused, match=words):
        access.check_listen(config(text), part)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("agent: {listen: 127.9.9.9:1}", "agent"),
        ('analyzer: {listen: "[::1]:1"}', "analyzer"),
        ('analyzer: {listen: ":1"}', "analyzer"),
        (BASIC + "agent: {listen: 0.0.0.0:1, auth: {api: {backend: basic}}}", "agent"),
        (
            BASIC + "analyzer: {listen: 0.0.0.0:1, auth: {api: {backend: basic}, cluster: {backend: basic}}}",
            "analyzer",
        ),
    ],
)
def test_what_is_local_or_protected_may_listen(text: str, part: access.Part) -> None:
    access.check_listen(config(text), part)


def test_what_an_agent_shows(tmp_path: Path) -> None:
    assert access.authorization(config("")) is None
    user = "agent: {auth: {cluster: {username: bob, password: s:ü}}}\n"
    assert access.authorization(config(user)) == "Basic Ym9iOnM6w7w="
    (tmp_path / "token").write_text("a token of enough letters\n")
    assert access.authorization(config(f"{user}cluster: {{token_file: {tmp_path}/token}}")) == (
        "Bearer a token of enough letters"
    )


WRONG = """\
cluster:
  token_file: {folder}/short
tls:
  server_cert: {folder}/none.pem
  server_key: {folder}/none.key
auth:
  people:
    type: basic
    file: {folder}/none
rbac:
  policy:
    - g, bob, guest
    - g, bob
http:
  allowed_origins: [ui.example]
analyzer:
  auth: {{api: {{backend: people}}}}
"""


def test_check_names_everything_where_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short")
    text = WRONG.format(folder=tmp_path)
    with pytest.raises(ConfigurationError) as wrong:
        access.check(read(text))
    found = [(problem.line, problem.key) for problem in wrong.value.problems]
    assert found == [
        (2, "cluster.token_file"),
        (4, "tls.server_cert"),
        (15, "http.allowed_origins"),
    ]
    with pytest.raises(ConfigurationError) as wrong:
        access.check(read(text.replace("ui.example", "https://ui.example")))
    ((line, key),) = [(problem.line, problem.key) for problem in wrong.value.problems][2:]
    assert (line, key) == (7, "auth.people")
    (tmp_path / "none").write_text("bob:$2b$04$" + "a" * 53 + "\n")
    with pytest.raises(ConfigurationError) as wrong:
        access.check(read(text.replace("ui.example", "https://ui.example")))
    assert [problem.key for problem in wrong.value.problems][2:] == ["rbac.policy[1]"]
    assert wrong.value.problems[-1].line == 11


def test_config_check_reads_the_token(tmp_path: Path) -> None:
    file = tmp_path / "c.yml"
    file.write_text(f"cluster:\n  token_file: {tmp_path}/token\n")
    arguments = ["config", "check", "-c", str(file)]
    missing = CliRunner().invoke(skycore, arguments)
    assert missing.exit_code == 2
    assert f"{file}:2:" in missing.stderr
    assert "cannot be read" in missing.stderr
    (tmp_path / "token").write_text("planted-token-of-enough-letters")
    good = CliRunner().invoke(skycore, arguments, catch_exceptions=False)
    assert (good.exit_code, good.stderr) == (0, "")
    assert "planted" not in good.output


def test_a_line_for_a_password_file() -> None:
    def make(*words: str, typed: str = "") -> Result:
        return CliRunner().invoke(skycore, ["config", "password", *words], input=typed)

    made = make("root", typed="s:ü\ns:ü\n")
    assert made.exit_code == 0, made.output
    found = htpasswd.parse(made.stdout)
    assert found.faults == ()
    assert len(made.stdout.splitlines()) == 1, "nothing else goes into the file"
    assert htpasswd.verify(found.hashes["root"], "s:ü")
    assert "s:ü" not in made.output
    assert make("ro:ot", typed="a\na\n").exit_code == 2
    assert make("root", typed="a\nb\n").exit_code != 0


def test_a_keystone_without_its_plugin_is_no_open_door() -> None:
    text = "auth: {keystone: {auth_url: http://k}}\nanalyzer: {auth: {api: {backend: keystone}}}\n"
    with pytest.raises(ConfigurationError, match=r"auth\.keystone: no installed package offers plugin 'keystone'"):
        access.gates(config(text), "analyzer")


def test_an_open_agent_imports_no_library_of_authentication(tmp_path: Path) -> None:
    code = (
        "import sys; from skycore.config import load; from skycore.role import access, agent;"
        f"access.gates(load([{str(tmp_path / 'c.yml')!r}]).config, 'agent');"
        "print(sorted({'argon2', 'bcrypt', 'casbin', 'simpleeval'} & set(sys.modules)))"
    )
    (tmp_path / "c.yml").write_text('rbac: {policy: ["g, bob, guest"]}\nauth: {basic: {users: {a: b}}}\n')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"


def test_the_configuration_of_the_page_is_right_and_protects(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    authority = trustme.CA()
    made = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    made.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    made.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    (tmp_path / "token").write_text("a token of enough letters\n")
    (tmp_path / "users").write_text("root:$2b$04$" + "a" * 53 + "\n")
    loaded = read(text.replace("/etc/skycore", str(tmp_path)))
    assert loaded.ignored == ()
    access.check(loaded)
    for part in ("agent", "analyzer"):
        access.check_listen(loaded.config, part)
        assert isinstance(access.gates(loaded.config, part).api, Guard)
    assert access.certificates(loaded.config).server is not None


def test_the_table_of_the_page_is_the_bundled_policy() -> None:
    policy = Policy(RBAC())
    told: set[tuple[str, str]] = set()
    for objects, actions, admin, guest in re.findall(
        r"^\| (`.+) \| (.+) \| (yes|no) \| (yes|no) \|$", PAGE.read_text(), flags=re.MULTILINE
    ):
        for object in re.findall(r"`([^`]+)`", objects):
            known = {rule["Action"] for rule in policy.permissions("admin") if rule["Object"] == object}
            named = set(re.findall(r"[\w/]+", actions)) if "other" not in actions else known - {"/ws/subscriber"}
            for action in named:
                told.add((object, action))
                assert policy.allows("admin", object, action) == (admin == "yes"), (object, action)
                assert policy.allows("guest", object, action) == (guest == "yes"), (object, action)
    assert told == {(rule["Object"], rule["Action"]) for rule in policy.permissions("admin")}
