"""Writing together. See docs/writing.md."""

from maporl.envs.tasks.writing.arxiv import ArXiv
from maporl.envs.tasks.writing.tldr import TLDR

__all__ = ["TLDR", "ArXiv"]
