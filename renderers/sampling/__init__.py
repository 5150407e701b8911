"""Drawing results from networks: samplers, their space, windows over long videos, tiles of large pictures."""
