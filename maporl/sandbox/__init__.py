"""Runs code that language models wrote, apart from everything else, and says which asserts it passes."""

from maporl.sandbox.program import Checked, Limits, Program, Report

__all__ = ["Checked", "Limits", "Program", "Report"]
