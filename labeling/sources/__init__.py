from labeling.sources.discovery import SourceOptions, discover
from labeling.sources.footage import Discovery, Footage, FootageCamera, FootageProblem, Frame, Reader
from labeling.sources.frame_reader import open_footage

__all__ = [
    "Discovery",
    "Footage",
    "FootageCamera",
    "FootageProblem",
    "Frame",
    "Reader",
    "SourceOptions",
    "discover",
    "open_footage",
]
