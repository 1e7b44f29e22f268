"""What figures depend on beside the settings: versions and machine."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata
from typing import Any

from maporl import __version__

__all__ = ["machine"]

PACKAGES = ("torch", "transformers", "peft", "trl", "pettingzoo", "gymnasium", "numpy", "scipy")


def machine(**more: str) -> dict[str, Any]:
    """The time, this machine, and the versions of what computes, ready for JSON.

    Args:
        more: What else the caller knows, as the command or the device; put first.
    """
    return {
        **more,
        "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": sys.version.split()[0],
        "versions": {"maporl": __version__, **{name: metadata.version(name) for name in PACKAGES}},
    }
