"""Inverse, lighting and forward renderers: networks, pipelines, checkpoints, long-video windows, edits."""
