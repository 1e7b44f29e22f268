"""The embedded tasks of further systems: what each of them can do shows in one of these."""
