"""arXiv: an abstract becomes an introduction, written in two parts (MAGRPO 2508.04652; abstracts of Cohan et al. 2018)."""

from __future__ import annotations

from maporl.envs.data import HubSource
from maporl.envs.tasks.writing.base import Writing
from maporl.envs.tasks.writing.form import ARXIV as FORM

__all__ = ["ArXiv"]


class ArXiv(Writing):
    """One agent writes background and motivation, the other method and implications. On the hub: ``OpenMLRL/arXiv_abstract``, whose
    "val" part is the test, as its authors have it. Nobody has written references: content is what the texts say of the abstract."""

    metadata = {"name": "arxiv"}
    writers = {
        "background_writer": "the background and motivation of a paper with this abstract, in 128 to 256 words",
        "method_writer": "its method and implications, half as long again, in 128 to 256 words",
    }
    form = FORM
    has_references = False
    hub = HubSource(train=("OpenMLRL/arXiv_abstract", ("train",)), test=("OpenMLRL/arXiv_abstract", ("val",)))
