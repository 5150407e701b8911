"""What training reads: sources of clips, their augmentation, and the loader that makes batches of them."""
