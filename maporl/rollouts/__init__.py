"""Discussions in lockstep, and what is kept of them."""
