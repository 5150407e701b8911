"""Settings: what surrounds things beyond the table-top. `setting_layout.py` first; `pieces.py` builds them."""
