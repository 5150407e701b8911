"""Stage 2: turns real footage into labelled clips under the dataset contract of stage 1."""
