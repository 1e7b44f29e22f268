"""Training runs: their configuration, trainers, evaluations, callbacks and folders."""
