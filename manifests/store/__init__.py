"""A dataset on disk: header, shards, manifests, and the work that waits to be packed."""
