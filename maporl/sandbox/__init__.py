"""Runs code that language models wrote, apart from everything else, and says which asserts it passes."""

from typing import TYPE_CHECKING, Any

from maporl.sandbox.program import Checked, Limits, Program, Report

if TYPE_CHECKING:
    from maporl.sandbox.sandbox import Sandbox, SandboxUnavailable, shared_sandbox

__all__ = ["Checked", "Limits", "Program", "Report", "Sandbox", "SandboxUnavailable", "shared_sandbox"]


def __getattr__(name: str) -> Any:
    """The sandbox itself only when it is asked for: its own processes need the values alone."""
    if name in __all__:
        from maporl.sandbox import sandbox

        return getattr(sandbox, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
