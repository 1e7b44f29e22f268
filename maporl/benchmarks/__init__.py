"""Methods compared on tasks over seeds."""
