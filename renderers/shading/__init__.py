"""Analytic shading of G-buffers under a light: split sum, visibility, exposure, and the hints that networks get."""
