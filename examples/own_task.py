"""A task of your own is a class: what is asked, and who says whether it is right.

python examples/own_task.py MODEL                                                # or, from this folder:
maporl train --env own_task:Reverse --model MODEL
"""

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
        draw = random.Random(split)
        for _ in range(1000 if split == "train" else 100):
            word = "".join(draw.choices("abcdefgh", k=4))
            yield Question(f"Spell {word} backwards.", word[::-1])


if __name__ == "__main__":
    maporl.train(env="own_task:Reverse", model=sys.argv[1], algorithm="mappo", output_dir="runs/reverse")
