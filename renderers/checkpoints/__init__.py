"""Checkpoints: reading them safely, which classes they may name, and converting published ones."""
