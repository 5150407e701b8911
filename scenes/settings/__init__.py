"""Settings: what surrounds the things of a scene beyond the table-top. `layout.py` first; `pieces.py` builds them."""
