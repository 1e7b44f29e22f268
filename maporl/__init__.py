"""maporl: train teams of language models that discuss a problem, and find out whether the team helps."""

__version__ = "0.1.0"
