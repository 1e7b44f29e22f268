"""Settings of sampling, and what samples."""
