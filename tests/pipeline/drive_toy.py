"""Runs the toy stage as a user's command would: `drive_toy.py DATASET STAGE-AS-JSON OPTIONS-AS-JSON`."""

import json
import sys
from pathlib import Path

from toy_stage import ToyStage, toy_dataset

from manifests.errors import LightloomError
from pipeline.engine import run
from pipeline.options import RunOptions

stage = json.loads(sys.argv[2])
stage["faults"] = {int(index): fault for index, fault in stage.get("faults", {}).items()}
toy = ToyStage(**stage)
try:
    print(run(toy_dataset(Path(sys.argv[1]), toy), toy, RunOptions(**json.loads(sys.argv[3]))).line())
except LightloomError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
