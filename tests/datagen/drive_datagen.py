"""Runs the smallest recipe as a user's command would: `drive_datagen.py DATASET CLIPS WORKERS [RAY-ADDRESS]`."""

import sys

from faulty_stage import smallest_recipe

from datagen.generation import DatagenSettings, generate
from manifests.errors import LightloomError
from manifests.object_path import place
from pipeline.options import RunOptions
from scenes.providers.builtin import builtin_catalogue

settings = DatagenSettings(smallest_recipe(), clips=int(sys.argv[2]), seed=11, per_shard=8)
options = RunOptions(workers=int(sys.argv[3]), attempts=20, show_progress=False, ray_address="".join(sys.argv[4:]))
try:
    print(generate(place(sys.argv[1]), settings, builtin_catalogue(), options).line())
except LightloomError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
