"""`lightloom data`: check, mend, combine and describe datasets. Needs neither Blender nor Ray."""
