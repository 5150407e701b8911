"""Backbone `photo`: networks on an encoder that has seen photographs. `photo_inverse.py` is the place to start."""
