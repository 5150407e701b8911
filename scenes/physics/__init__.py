"""Things that fall and come to rest: convex shapes for collisions, and the simulation of rigid bodies."""
