"""What learns in a run: a policy gradient by any algorithm, and trainers that have a run to themselves."""
