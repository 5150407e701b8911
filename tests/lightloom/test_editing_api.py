"""`editing.relight`, `edit` and `insert` from Python, in a process of its own: other tests here import Blender."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lightloom.torchlines import TINY, run_python

DRIVER = """
import json, sys, warnings
from pathlib import Path
import editing
from editing.film import open_film
from editing.lights import find_light
from manifests.errors import LightloomError
from tests.datagen.meshfiles import GltfFile
from tests.labeling.footage import encode, shot
warnings.simplefilter("error", UserWarning)
encode(Path("pan.mp4"), shot(1, 5, 32, 48), rate=10)
GltfFile({"name": "paint", "pbrMetallicRoughness": {"baseColorFactor": [0.8, 0.1, 0.05, 1.0]}}).glb(Path("box.glb"))
settings = editing.FilmSettings(inverse="inverse", forward="forward", window=3, device="cpu")
renderers = editing.FilmRenderers(settings)
how = {"settings": settings, "renderers": renderers}
said, mistakes = {}, {}

def mistake(name, work):
    try:
        work()
    except LightloomError as error:
        mistakes[name] = str(error)

said["relight"] = editing.relight("pan.mp4", "studio/0001", "relit.mp4", show=True, gbuffers="maps", **how)
said["lights"] = editing.relight(Path("pan.mp4"), [find_light("courtyard"), "studio/0001"], Path("sheet.mp4"), **how)
said["film"] = editing.relight(open_film("pan.mp4"), "relit.light.exr", "again.mp4", **how)
change = {"basecolor": [0.9, 0.1, 0.1], "roughness": 0.2}
said["edit"] = editing.edit("pan.mp4", change, "edit.mp4", pick=(20, 16), mask_out="mask.mp4", **how)
made = editing.insert("pan.mp4", "box.glb", (24, 26), "insert.mp4", depth=0.4, gbuffers="inserted", **how)
said["insert"] = [*made.written, *made.placed, *made.said]
same = renderers.inverse is renderers.without_lora().inverse
own = editing.FilmRenderers(settings, inverse="ours", forward="theirs")
said["kept"] = [same, own.inverse, own.forward, own.without_lora().forward]
mistake("no light", lambda: editing.relight("pan.mp4", [], "a.mp4", **how))
mistake("exr", lambda: editing.relight("pan.mp4", "courtyard", "a.mp4", exr=True, **how))
mistake("two", lambda: editing.edit("pan.mp4", change, "a.mp4", pick=(1, 1), instance=2, **how))
mistake("nothing", lambda: editing.edit("pan.mp4", {}, "a.mp4", pick=(1, 1), **how))
mistake("unknown", lambda: editing.edit("pan.mp4", {"depth": 1}, "a.mp4", pick=(1, 1), **how))
mistake("side", lambda: editing.FilmSettings(side=-1))
mistake("weights", lambda: editing.FilmSettings(weights="nowhere"))
print(json.dumps([said, mistakes], default=str))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, str]]:
    folder = tmp_path_factory.mktemp("api")
    code, out, err = run_python(TINY + DRIVER, folder)
    assert code == 0, err[-3000:]
    return folder, *json.loads(out.splitlines()[-1])


def test_a_film_in_a_film_out_and_the_paths_of_all_that_was_written(done: Any) -> None:
    folder, said, _ = done
    assert said["relight"] == ["relit.mp4", "relit.light.exr", "relit.light.png", "maps"]
    assert (said["lights"], said["film"]) == (["sheet.mp4"], ["again.mp4"])
    assert said["edit"] == ["edit.mp4", "mask.mp4"]
    assert said["insert"][:2] == ["insert.mp4", "inserted"]
    written = [name for names in (*list(said.values())[:4], said["insert"][:2]) for name in names]
    assert all((folder / name).exists() for name in written)


def test_an_insertion_says_what_it_assumed_and_where_the_object_is(done: Any) -> None:
    placed, *assumed = done[1]["insert"][2:]
    assert placed.startswith("box.glb at (")
    assert any("frames 0 to " in line for line in assumed)  # what was solved of the camera, or why nothing was


def test_renderers_are_loaded_once_and_may_be_ones_own(done: Any) -> None:
    assert done[1]["kept"] == [True, "ours", "theirs", "theirs"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no light", "no light was given; give `light` FILE or NAME, several for a comparison"),
        ("exr", "`exr` says how G-buffers are written; give `gbuffers` FOLDER too"),
        ("two", "say what to edit by one of `instance`, `mask` or `pick`"),
        ("nothing", "nothing to change; say `change` roughness=0.1"),
        ("unknown", "`change` 'depth=1': expected each of basecolor, roughness, metallic"),
        ("side", "`side` takes 0 or more pixels"),
        ("weights", "`weights` nowhere: no folder with"),
    ],
)
def test_mistakes_name_the_argument(done: Any, name: str, words: str) -> None:
    assert done[2][name].startswith(words)
    assert "--" not in done[2][name]
    assert not (done[0] / "a.mp4").exists()


def test_the_room_loads_neither_torch_nor_anything_heavy_until_it_is_used() -> None:
    code = "import sys, editing; editing.FilmSettings(); print({'torch', 'bpy', 'gradio', 'cv2'} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip() == "set()"
