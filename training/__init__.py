"""Stage 3: trains renderers on the clips of both stages: data, objectives, one loop, evaluation, baselines."""
