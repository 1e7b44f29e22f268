"""TL;DR: a short summary of a post, and a detailed one (MAGRPO 2508.04652; posts of Völske et al. 2017)."""

from __future__ import annotations

from maporl.envs.data import HubSource
from maporl.envs.tasks.writing.base import Writing
from maporl.envs.tasks.writing.form import TLDR as FORM

__all__ = ["TLDR"]


class TLDR(Writing):
    """One agent writes a summary, the other a detailed summary. On the hub: ``trl-lib/tldr``, 116,722 train and 6,553 test."""

    metadata = {"name": "tldr"}
    writers = {
        "summary_writer": "a summary of the text in one or two sentences",
        "details_writer": "a detailed summary, two or three times as long, with more different words and with transition words",
    }
    form = FORM
    has_references = True
    hub = HubSource(train=("trl-lib/tldr", ("train",)), test=("trl-lib/tldr", ("test",)))
