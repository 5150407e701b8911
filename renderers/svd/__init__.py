"""The `svd` backbone: networks in the layout of the published DiffusionRenderer checkpoints."""
