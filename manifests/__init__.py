"""The dataset contract: what a clip is, its files and shards on disk, and tools to check, mend and show datasets."""
