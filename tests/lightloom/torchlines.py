"""Code and command lines that load torch, in processes of their own: other tests here import Blender, which bears none.

They are forked from one process that has loaded torch and diffusers, which takes longer than most of what they do.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

Result = tuple[int, str, str]
"""Exit code, stdout, stderr."""

_OURS = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
_FORKING = """
import json, os, sys
import diffusers.models.unets.unet_spatio_temporal_condition, diffusers.pipelines.pipeline_utils
for line in sys.stdin:
    code, arguments, folder, environment, files = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for number, file in enumerate([os.devnull, *files]):
            os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), number)
        sys.argv = ["-c", *arguments]
        exec(code, {"__name__": "__main__"})
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
_HEAD = """
import contextlib, io, json, sys
import lightloom.cli
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


@functools.cache
def _forking() -> subprocess.Popen[str]:
    """The process that all others are forked from; it ends with this one."""
    started = subprocess.Popen(
        [sys.executable, "-c", _FORKING],
        env=os.environ | _OURS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdin is not None
    atexit.register(started.stdin.close)
    return started


def run_python(
    code: str, folder: Path, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Result:
    """Run `code` as `python -c` does, inside `folder`."""
    known = dict(os.environ if environment is None else environment) | _OURS
    process = _forking()
    assert process.stdin is not None and process.stdout is not None
    with TemporaryDirectory() as place:
        files = [str(Path(place, name)) for name in ("out", "err")]
        request = (code, list(map(str, arguments)), str(folder), known, files)
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, "the process that the others are forked from has ended"
        return int(answer), *(Path(file).read_text() for file in files)


def run_lines(folder: Path, command: str, lines: Mapping[str, Sequence[str]], setup: str) -> dict[str, Result]:
    """Run `lightloom COMMAND LINE` for every line inside `folder`, after the Python code `setup`."""
    return run_and_look(folder, {name: (command, *line) for name, line in lines.items()}, setup, "")[0]


def run_and_look(
    folder: Path, lines: Mapping[str, Sequence[str]], setup: str, after: str
) -> tuple[dict[str, Result], Any]:
    """Run `lightloom LINE` for every line between two pieces of code; also gives what `after` leaves in `extra`."""
    made, out, err = run_python(_HEAD + setup + _RUN + after + _TELL, folder, [json.dumps(list(lines.values()))])
    assert made == 0, err[-3000:]
    results, extra = json.loads(out.splitlines()[-1])
    return dict(zip(lines, map(tuple, results), strict=True)), extra
