"""Procedural meshes: generators by name, and the surfaces that they are made of."""
