"""Footage: what a source holds, and how the frames of each item are read."""
