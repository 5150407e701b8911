"""Settings: what surrounds the things of a scene beyond the table-top. `laying_out.py` first; `pieces.py` builds them."""
