"""Runs the smallest recipe as a user's command would: `drive_datagen.py DATASET CLIPS WORKERS`."""

import sys
from pathlib import Path

from faulty_stage import smallest_recipe

from datagen.generation import DatagenSettings, generate
from manifests.errors import LightloomError
from pipeline.options import RunOptions
from scenes.providers.builtin import builtin_catalogue

settings = DatagenSettings(smallest_recipe(), clips=int(sys.argv[2]), seed=11, per_shard=8)
options = RunOptions(workers=int(sys.argv[3]), attempts=20, show_progress=False)
try:
    print(generate(Path(sys.argv[1]), settings, builtin_catalogue(), options).line())
except LightloomError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
