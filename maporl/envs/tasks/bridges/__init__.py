"""Tasks of other packages as discussions."""
