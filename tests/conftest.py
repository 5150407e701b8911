"""Makes `tests/` importable, for what the rooms' tests share (`drivers.py`)."""
