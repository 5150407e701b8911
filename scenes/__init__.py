"""What to render, as pure data: catalogue, recipes, specs, sampling, placement, motion. No bpy, no torch."""
