"""Every command of README.md and docs/ runs, in the order of its page, as it is printed there.

What a page takes as given is made here, small. What takes long is asked to do less: SMALLER has all such changes. The
commands that need neither Blender nor torch run with the other tests, all of them with `pytest -m slow`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import lightloom
from tests.lightloom import doclines
from tests.lightloom.doclines import PAGES, ROOT
from tests.lightloom.torchlines import run_python

SMALLER = (
    (r"(datagen run .*)--recipe paper", r"\1--recipe tiny"),
    (r"(datagen run .*--clips) \d+", r"\1 2"),
    (r"(datagen plan .*)--recipe paper", r"\1--recipe tiny"),
    (r"--measure \d+", "--measure 1"),
    (r"--minutes \d+", "--steps 2 --batch 2"),
    (r"(evaluate build .*)", r"\1 --objects 1 --scenes 1 --turns 1"),
    (r"(evaluate edits .*)", r"\1 --scenes 1"),
    (r"(label (?:run|plan) .*)--segments 15(?: --length 24)?", r"\1--segments 2 --length 8"),
    (r"(label plan .*)", r"\1 --measure 1"),
    (r"benchmarks.factory .*", "benchmarks.factory --clips 1 --size 32 --frames 2 --samples 2"),
    (r"(benchmarks.sampling)", r"\1 --scenes 20"),
    (r"(benchmarks.renderers cpu) .*", r"\1 --repeats 1 --steps 2 --frames 2"),
    (r"(benchmarks.loader .*)", r"\1 --clips 8"),
    (r"(benchmarks.training_step .*)", r"\1 --steps 5"),
    (r"(benchmarks.labeling speed)", r"\1 --videos 1 --size 32 --repeats 1"),
    (r"(benchmarks.figures .*)", r"\1 depth"),
)
MAKE = """
import sys
from pathlib import Path
from tests.labeling.footage import encode, shot
from tests.training.sets import make_set

def tiny(kind, folder):
    import torch
    from renderers import ForwardRenderer, InverseRenderer, LightingEstimator
    from renderers.backbones import BACKBONES
    pipeline = {"inverse": InverseRenderer, "forward": ForwardRenderer, "lighting": LightingEstimator}[kind]
    network = BACKBONES["tiny"].create(kind, widths=(16, 32), depths=(1, 1), embedding=16)
    pipeline(network).save_pretrained(folder / "renderer")

def published(folder):
    from tests.renderers.narrow import narrow_checkpoint
    for kind in ("inverse", "forward"):
        narrow_checkpoint(folder / f"{kind}-svd", kind, bare=True)

def chair(path):
    from tests.datagen.meshfiles import GltfFile
    GltfFile({"name": "paint", "pbrMetallicRoughness": {"baseColorFactor": [0.8, 0.1, 0.05, 1.0]}}).glb(path)

def sky(path):
    from tests.datagen.analytic import lobes, write_environment
    write_environment(path, lobes())

def assets(folder):
    (folder / "chairs").mkdir(parents=True)
    chair(folder / "chairs" / "chair.glb")
    rule = "assets: [{path: 'chairs/**', licence: CC0-1.0, author: Ann Example}]"
    (folder / "lightloom-assets.yaml").write_text(rule)

def videos(folder):
    folder.mkdir()
    for number in (1, 2):
        encode(folder / f"{number}.mp4", shot(number, 24, 72, 96))

MAKERS = {
    "cat.mp4": lambda path: encode(path, shot(1, 9, 34, 48, speed=1.0), codec="libx264", rate=10),
    "chair.glb": chair,
    "sky.exr": sky,
    "my-assets": assets,
    "videos": videos,
    "dataset": make_set,
    "a": lambda path: make_set(path, spec_digest=64 * "a"),
    "b": lambda path: make_set(path, spec_digest=64 * "b"),
    "out/set": lambda path: make_set(path, size=64),
    "out/real": lambda path: make_set(path, size=64),
    "out/inverse": lambda path: tiny("inverse", path),
    "out/forward": lambda path: tiny("forward", path),
    "out/lighting": lambda path: tiny("lighting", path),
    "downloads": published,
}
for name in sys.argv[1:]:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    MAKERS[name](Path(name))
"""
SHELL = """
set -euo pipefail
lightloom() { "$PYTHON" -c 'from lightloom.cli import main; main()' "$@"; }
python() { "$PYTHON" "$@"; }
"""


def smaller(text: str) -> str:
    for pattern, replacement in SMALLER:
        text = re.sub(pattern, replacement, text)
    return text


def world(folder: Path, names: list[str]) -> dict[str, str]:
    """Make what is given in `folder`, and a home; the environment to run in."""
    home = folder / "home"
    for place in (".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions"):
        (home / place).mkdir(parents=True)
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": cache}
    subprocess.run([sys.executable, "-c", MAKE, *names], cwd=folder, env=environment, check=True)
    return environment


def test_commands_on_datasets_run_as_printed(tmp_path: Path) -> None:
    run_page("docs/dataset.md", tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [page for page in PAGES if doclines.commands(page)])
def test_the_commands_of_a_page_run_one_after_the_other(page: str, tmp_path: Path) -> None:
    run_page(page, tmp_path)


def test_the_snippets_of_the_python_guide_run_one_after_the_other(tmp_path: Path) -> None:
    page = "docs/python.md"
    snippets = re.findall(r"^```python\n(.*?)^```$", doclines.source(page), re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"lightloom\.(\w+)", "".join(snippets)))
    assert named == set(lightloom.__all__)
    environment = world(tmp_path, doclines.given(page))
    code, _, err = run_python("\n".join(snippets), tmp_path, environment=environment)
    assert code == 0, err[-3000:]
    assert "Warning" not in err
    assert all((tmp_path / "out" / name).is_file() for name in ("lit.mp4", "metal.mp4", "chair.mp4"))


def run_page(page: str, folder: Path) -> None:
    environment = world(folder, doclines.given(page))
    for line in doclines.commands(page):
        text = smaller(line.text)
        if line.reason or not runnable(text):
            continue
        command = ["bash", "-c", SHELL + text]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page}: {text}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
        assert "Warning: " not in done.stderr, f"{page}: {text}\n{done.stderr[-3000:]}"
        check_written(text, folder)


def runnable(text: str) -> bool:
    """Whether what the command needs beside the package is installed."""
    return not text.startswith("lightloom view ") or importlib.util.find_spec("rerun") is not None


def check_written(text: str, folder: Path) -> None:
    for out in re.findall(r"--(?:out|save) (\S+)", text):
        assert (folder / out).exists(), f"{text}: wrote no {out}"


def test_smaller_commands_are_still_commands_and_every_change_is_of_use() -> None:
    texts = [line.text for page in PAGES for line in doclines.commands(page)]
    for pattern, _ in SMALLER:
        assert any(re.search(pattern, text) for text in texts), f"{pattern} changes no command"
    for text in texts:
        words = shlex.split(smaller(text).split(" > ")[0])
        if words[0] == "lightloom":
            doclines.parse(words[1:])
