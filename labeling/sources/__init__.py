"""Footage of any kind as frames: found, opened and read within bounds, for files that may come from anyone."""

from labeling.sources.discovery import SourceOptions, discover
from labeling.sources.footage import Discovery, Footage, FootageCamera, Frame, Problem, Reader
from labeling.sources.frame_reader import open_footage

__all__ = [
    "Discovery",
    "Footage",
    "FootageCamera",
    "Frame",
    "Problem",
    "Reader",
    "SourceOptions",
    "discover",
    "open_footage",
]
