"""The only package that imports bpy."""

import os

# Read when bpy is imported: with a studio's own colour configuration, "linear" would mean another space.
os.environ.pop("OCIO", None)

import bpy as _bpy  # noqa: F401  (bmesh and mathutils exist only once bpy is loaded)
