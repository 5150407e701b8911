"""The `cosmos` backbone: networks in the layout of the published DiffusionRenderer checkpoints on Cosmos (7 B)."""
