"""Clips to files and back: `compact` (video, measured error bounds) and `exact` (OpenEXR)."""
