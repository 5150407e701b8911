"""Command lines that load torch, run one after another in one process of their own: other tests here import Blender,
which bears no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Result = tuple[int, str, str]
"""Exit code, stdout, stderr."""

_HEAD = """
import contextlib, io, json, sys
import lightloom.cli
assert "torch" not in sys.modules, "the command line alone imports no torch"
import torch
torch.set_num_threads(1)
from pathlib import Path
"""

TINY = """
from renderers import ForwardRenderer, InverseRenderer
from renderers.backbones import BACKBONES
small = dict(widths=(16, 32), depths=(1, 1), embedding=16)
for kind, pipeline in (("inverse", InverseRenderer), ("forward", ForwardRenderer)):
    pipeline(BACKBONES["tiny"].create(kind, **small)).save_pretrained(kind)
"""
"""Set-up code: untrained renderers, folders `inverse` and `forward`."""

_RUN = """
results = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if arguments[0] == "weights":
                from benchmarks.weights.__main__ import app as weights

                code = lightloom.cli.run(arguments[1:], weights, "python -m benchmarks.weights")
            else:
                code = lightloom.cli.run(arguments)
        except SystemExit as stop:
            code = stop.code
    results.append((code, out.getvalue(), err.getvalue()))
assert "bpy" not in sys.modules
extra = None
"""
_TELL = """
print(json.dumps([results, extra]))
"""


def run_lines(folder: Path, command: str, lines: Mapping[str, Sequence[str]], setup: str) -> dict[str, Result]:
    """Run `lightloom COMMAND LINE` for every line inside `folder`, after the Python code `setup`."""
    return run_and_look(folder, {name: (command, *line) for name, line in lines.items()}, setup, "")[0]


def run_and_look(
    folder: Path, lines: Mapping[str, Sequence[str]], setup: str, after: str
) -> tuple[dict[str, Result], Any]:
    """Run `lightloom LINE` for every line between two pieces of code; also gives what `after` leaves in `extra`."""
    made = subprocess.run(
        [sys.executable, "-c", _HEAD + setup + _RUN + after + _TELL, json.dumps(list(lines.values()))],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    results, extra = json.loads(made.stdout.splitlines()[-1])
    return dict(zip(lines, map(tuple, results), strict=True)), extra
