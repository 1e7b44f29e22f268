"""What is compared: which discussion, and how it becomes an answer."""

from maporl.benchmarks.methods.method import Method, SelfConsistency

__all__ = ["Method", "SelfConsistency"]
