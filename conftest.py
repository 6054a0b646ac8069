"""The whole repository's tests: the lab's fixtures, and no silent skips."""

pytest_plugins = ["skycore.testing.pytest_plugin"]
