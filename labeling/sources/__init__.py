from labeling.sources.base import Discovery, Footage, FootageCamera, Frame, Problem, Reader
from labeling.sources.discovery import SourceOptions, discover
from labeling.sources.opening import open_footage

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
