"""Agents that a seat may be given by a word beside language models of this process."""
