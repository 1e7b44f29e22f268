"""What of other packages is not asked, and why. Each reason holds for the versions of constraints.txt, and is tested."""

from __future__ import annotations

__all__ = ["ANSWERS", "DATASETS", "GAMES", "HIDDEN"]

_HASHES = "its items are others in every process, for they depend on Python's hash seed"
_PYTHON = "its score runs the answer as Python code"
DATASETS = {
    "codeio": "its items run programs of unknown origin in this process",
    "coin_flip": "its score is 1 for the answer 0 wherever the probability begins with a 0",
    "composite": "it is made of other data sets",
    "game_of_life_halting": "its score is 1 for every answer that is not empty",
    "intermediate_integration": _PYTHON,
    "isomorphic_strings": _HASHES,
    "knight_swap": _HASHES,
    "polynomial_multiplication": _PYTHON,
    "puzzle24": "its score is 1 for the answer 1*2*3*4 to every question",
    "ransom_note": _HASHES,
    "simple_integration": _PYTHON,
    "word_ladder": _HASHES,
}
"""Data sets of Reasoning Gym."""
ANSWERS = {
    "binary_matrix": r"[\d\s]*",
    "complex_arithmetic": r"[-+.\dij()\s]*",
    "countdown": r"(?!.*\*\s*\*)[-+*/()\d\s]*",
    "n_queens": r"[_Q\s]*",
    "spiral_matrix": r"[-\d\s]*",
    "string_insertion": r"[A-E]*",
}
"""What an answer may consist of where a score runs it as Python code, or is 1 for "nan"; any other is wrong."""

_ONE_START = "it begins in the same way whatever the seed, so nothing is left to test on"
GAMES = {
    "Bandit": "its reward is 0 for the best button and the greatest for the worst",
    "Countdown": _ONE_START,
    "Cryptarithm": _ONE_START,
    "PegJump": _ONE_START,
    "Set": "its reward is a number of sets, not a share",
    "TowerOfHanoi": _ONE_START,
}
"""Games of TextArena, by the beginning of their ids."""
HIDDEN = ("GuessTheNumber", "Mastermind", "Minesweeper")
"""Games that look the same in the beginning, for what a seed decides is hidden: there seeds tell games apart."""
