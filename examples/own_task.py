"""A task of your own is a class: what is asked, and who says whether it is right.

python examples/own_task.py MODEL                                                # or, from this folder:
maporl train --env own_task:Reverse --model MODEL
"""

import itertools
import random
import sys

import maporl
from maporl.envs import DiscussionEnv
from maporl.types import Question


class Reverse(DiscussionEnv):
    """Spell a word backwards."""

    instruction = 'Reply with "Answer: " and the word.'
    default_verifier = "exact"

    def load(self, split):
        words = ["".join(letters) for letters in itertools.product("abcdefgh", repeat=4)]
        random.Random(0).shuffle(words)
        for word in words[:1000] if split == "train" else words[1000:1100]:
            yield Question(f"Spell {word} backwards.", word[::-1])


if __name__ == "__main__":
    maporl.train(env="own_task:Reverse", model=sys.argv[1], algorithm="mappo", output_dir="runs/reverse")
