"""Cameras of footage: what kind of motion its frames show, and the poses and lens that explain it."""
