"""What the tests of Skycore and of its plugins are made of; public, so that plugin authors test as we do."""

from skycore.testing.probes import ProbeLab, run_probes

__all__ = ["ProbeLab", "run_probes"]
