"""The figures of the guides, drawn from what the factory really does."""
