"""Stage 1: renders scenes into clips with full ground truth; Blender itself is in `datagen.blender` alone."""
