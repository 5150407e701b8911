"""The front door of Lightloom: command line, presets, demo."""
