"""Stage 3: loaders, objectives, loops, evaluation and baselines."""
