"""Ours beside the functions that other projects published, read from a checkout of theirs; nothing of theirs is kept here."""
