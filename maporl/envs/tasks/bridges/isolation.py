"""Foreign code that draws from the global random generators, prints and warns, kept to itself."""

from __future__ import annotations

import contextlib
import io
import random
import warnings
from collections.abc import Iterator
from zlib import crc32

import numpy as np

__all__ = ["isolated"]


@contextlib.contextmanager
def isolated(seed: object) -> Iterator[None]:
    """Within the block the global generators of `random` and numpy begin at `seed`; after it they are as they were before.

    What is printed and warned of within it is dropped. Not for several threads at once: there is one global generator.
    """
    before, numpy_before = random.getstate(), np.random.get_state()
    random.seed(str(seed))
    np.random.seed(crc32(str(seed).encode()))
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)
