"""The pytest plugin: permitted skips are printed, all others fail the run, and missing programs fail their test."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\naddopts = -p skycore.testing.pytest_plugin -p no:trio --strict-markers")
    pytester.mkdir("tests")
    return pytester


def _permit(pytester: pytest.Pytester, text: str) -> None:
    (pytester.path / "tests" / "cannot-run-here.toml").write_text(text)


def test_a_listed_test_is_skipped_and_printed(run: pytest.Pytester) -> None:
    run.makepyfile(test_a="def test_x(): assert False\ndef test_y(): pass")
    _permit(run, '[[cannot_run]]\ntest = "test_a.py::test_x"\nreason = "no kernel module z"')
    result = run.runpytest()
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*= cannot run here =*", "test_a.py::test_x: no kernel module z"])
    assert result.ret == pytest.ExitCode.OK


def test_an_entry_may_name_a_file_or_a_parametrized_test(run: pytest.Pytester) -> None:
    run.makepyfile(
        test_a="def test_x(): assert False",
        test_b="import pytest\n@pytest.mark.parametrize('n', [1, 2])\ndef test_y(n): assert False\ndef test_yy(): pass",
    )
    _permit(
        run,
        '[[cannot_run]]\ntest = "test_a.py"\nreason = "a"\n[[cannot_run]]\ntest = "test_b.py::test_y"\nreason = "b"',
    )
    result = run.runpytest()
    result.assert_outcomes(passed=1, skipped=3)
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    "source",
    [
        "import pytest\ndef test_x(): pytest.skip('not today')",
        "import pytest\n@pytest.mark.skip(reason='not today')\ndef test_x(): pass",
        "import pytest\n@pytest.mark.skipif(True, reason='not today')\ndef test_x(): pass",
        "import pytest\npytest.skip('not today', allow_module_level=True)",
        "import pytest\npytest.importorskip('no_such_module', reason='not today')",
        "import pytest\n@pytest.fixture\ndef f(): pytest.skip('not today')\ndef test_x(f): pass",
        "import pytest\n@pytest.mark.xfail(run=False, reason='not today')\ndef test_x(): pass",
    ],
)
def test_any_other_skip_fails_the_run(run: pytest.Pytester, source: str) -> None:
    run.makepyfile(test_a=source, test_b="def test_fine(): pass")
    result = run.runpytest()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*= skipped without permission =*", "test_a.py*: *not*"])


def test_an_expected_failure_that_runs_is_no_skip(run: pytest.Pytester) -> None:
    run.makepyfile(test_a="import pytest\n@pytest.mark.xfail(strict=True)\ndef test_x(): assert False")
    result = run.runpytest()
    result.assert_outcomes(xfailed=1)
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    "text",
    ["nonsense", "[other]", '[[cannot_run]]\ntest = "test_a.py"', '[[cannot_run]]\ntest = "gone.py"\nreason = "x"'],
)
def test_a_wrong_list_stops_the_run(run: pytest.Pytester, text: str) -> None:
    run.makepyfile(test_a="def test_x(): pass")
    _permit(run, text)
    result = run.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*cannot-run-here.toml: *"])


def test_a_missing_program_fails_with_a_hint(run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    run.makepyfile(test_a="import pytest\n@pytest.mark.needs('no-such-program', 'ls')\ndef test_x(): pass")
    result = run.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*this test needs no-such-program; the second command of README.md installs*"])


def test_named_namespaces_go_even_when_the_test_fails(run: pytest.Pytester) -> None:
    run.makepyfile(
        test_a="""
        import pathlib

        def test_x(netns):
            pathlib.Path("name").write_text(netns().path)
            assert False
        """
    )
    run.runpytest().assert_outcomes(failed=1)
    path = (run.path / "name").read_text()
    assert path.startswith("/run/netns/skt-")
    assert not os.path.exists(path)
