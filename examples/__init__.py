"""Examples. Single files are plug-ins to copy (`own_task.py` ...); folders are experiments, run as ``python -m examples.NAME``."""
