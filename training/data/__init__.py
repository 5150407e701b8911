"""From shards to batches: sources, their order, decoding, augmentation."""
