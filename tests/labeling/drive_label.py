"""Labels as a user's command would: `drive_label.py SOURCE CHECKPOINT DATASET WORKERS [RAY-ADDRESS]`."""

import sys
from pathlib import Path

from labelkit import QuickStage, settings

from labeling.label_run import create
from labeling.sources.discovery import discover
from manifests.errors import LightloomError
from manifests.object_path import place
from pipeline.engine import run
from pipeline.options import RunOptions

source, weights, dataset, workers, *address = sys.argv[1:]
chosen = settings(Path(weights))
found = discover(source)
options = RunOptions(
    workers=int(workers), cpus_per_worker=1, attempts=20, show_progress=False, ray_address="".join(address)
)
try:
    stage = QuickStage(source=Path(found.root).name, footage=found.footage, settings=chosen)
    print(run(create(place(dataset), found, chosen), stage, options).line())
except LightloomError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
