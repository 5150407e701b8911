"""Environment light in torch: panoramas as networks see them, and light solved from a video without weights."""
