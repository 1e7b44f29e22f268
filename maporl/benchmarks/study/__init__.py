"""Methods x tasks x seeds: planned, trained, measured."""
