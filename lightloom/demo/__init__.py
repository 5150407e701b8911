"""The demo: the whole chain at a size that a laptop finishes, stage by stage, and the page that tells its story."""
