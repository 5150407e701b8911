"""What the studio does, without a browser and in a process of its own: other tests here import Blender."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from editing.film import open_video, steady
from labeling.sources.footage import MEANINGS
from tests.lightloom.torchlines import TINY, run_python
from tests.manifests.clips import clip_sample, make_dataset

DRIVER = """
import json, sys, zipfile
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from editing.settings import FilmSettings
from editing.lights import NamedLight, find_light
from lightloom.studio.page_content import film_pixel, fitted, gbuffer_pictures, lights, marked
from lightloom.studio.page_content import material_values, offered
from lightloom.studio.workshop import Workshop
from manifests.contract.color import srgb_encode
from manifests.contract.environment import Environment
from manifests.errors import LightloomError
from tests.datagen.meshfiles import GltfFile
from tests.labeling.footage import encode, shot
from tests.labeling.test_video_layouts import phone_film
encode(Path("pan.mkv"), shot(1, 6, 33, 48), codec="ffv1", pixels="bgr0", rate=10)
encode(Path("long.mp4"), shot(1, 8, 32, 32), rate=10)
GltfFile({"name": "paint", "pbrMetallicRoughness": {"baseColorFactor": [0.8, 0.1, 0.05, 1.0]}}).glb(Path("box.glb"))
settings = FilmSettings(inverse="inverse", forward="forward", device="cpu")
shop = Workshop(settings, 7, Path.cwd(), {})
said, mistakes = {}, {}

def mistake(name, work):
    try:
        work()
    except LightloomError as error:
        mistakes[name] = str(error)

pan = shop.open("pan.mkv")
said["pan"] = pan.told
said["maps"] = {name: picture.shape for picture, name in gbuffer_pictures(pan.gbuffers)}
request, mask = shop.select(pan, [(20, 16)])
said["pick"] = [request.pick, request.instance, float(mask.mean()), list(mask.shape)]
more, less = (shop.select(pan, *points)[1].mean() for points in ([[(20, 16), (3, 3)]], [[(20, 16)], [(24, 16)]]))
said["corrected"] = [float(more), float(less)]
with pan.film(whole=False) as film:
    first = film.frame(0)
ones = np.ones((33, 48, 1), np.float32)
shown = marked(first, ones, []).astype(int) - fitted(first)
said["tint"] = [float(np.abs(shown[320, 400]).sum()), list(shown.shape)]
marks = [marked(first, ones, [((20, 16), belongs)]).astype(int) - fitted(first) - shown for belongs in (False, True)]
said["marks"] = [int(np.abs(mark).sum()) for mark in marks]
own = shop.own_light(pan)
said["own"] = [list(own.image.shape), bool((own.image >= 0).all())]
relit = shop.relight(pan, find_light("courtyard").turned(90), turn=360, gbuffers=True)
said["relit"] = [str(path) for path in relit.files]
before, after = shop.compare(pan, relit, 5)
said["compare"] = [list(before.shape), list(after.shape), float(np.abs(before - after).mean())]
change = material_values(["base colour", "metallic"], "rgba(255, 0.4, 0, 1)", None, 0.5, 0.0)
said["change"] = change
edited = shop.edit(pan, request, change)
said["edited"] = [str(path) for path in edited.files]
tried = shop.edit(pan, request, change, whole=False)
with_first = shop.compare(pan, tried, 3)
said["tried"] = [str(tried.video), float(np.abs(with_first[0] - with_first[1]).mean())]

light, times = phone_film(Path("phone.mov"), rounds=1)
larger = Workshop(settings, 8, Path.cwd(), {})
phone = larger.open("phone.mov")
with phone.film(whole=False) as film:
    seen = np.abs(film.frame(0) - srgb_encode(light))[7::16, 7::16]
done = larger.relight(phone, find_light("courtyard"))
said["phone"] = [phone.told, str(done.video.rename("phone.mp4")), times.tolist(), 255 * float(seen.max())]
phone.close()

known = shop.open("set:00000000-00")
said["known"] = known.told
object_, object_mask = shop.select(known, [(24, 22)])
said["instance"] = [object_.instance, float(object_mask.mean())]
mistake("background", lambda: shop.select(known, [(2, 0)]))
light = shop.own_light(known).image
said["known light"] = float(np.abs(light - known.first.environment.image).max())
put = shop.insert(known, "box.glb", (10, 36), scale=0.9, rotate=20.0)
said["put"] = [str(put.video), zipfile.ZipFile(put.files[1]).namelist(), put.told]
pair = shop.compare(known, put, 0)
reddish = [float((frame[..., 0] - frame[..., 2])[30:40, 4:18].mean()) for frame in pair]
said["red"] = reddish
import lightloom.studio.workshop as workshop
from tests.training.sets import make_set
workshop.render_clip = lambda dataset, recipe: make_set(dataset, size=32)
said["example"] = []
for name in (workshop.EXAMPLE, workshop.PLAIN_EXAMPLE):
    example = shop.open(shop.sources[name])
    said["example"].append([example.known, list(example.size), Path(example.source).suffix == ".mp4"])
    example.close()
known.close()
said["closed"] = known.folder.exists()

mistake("long", lambda: shop.open("long.mp4"))
mistake("no video", lambda: shop.open("box.glb"))
mistake("no change", lambda: material_values([], "#ffffff", None, 0, 0))
mistake("no mesh", lambda: shop.insert(pan, "pan.mkv", (3, 3), whole=False))
mistake("no source", lambda: offered(["nowhere.mp4"]))
said["offered"] = offered(["pan.mkv", "set"])
said["folders"] = sorted(path.name.split("-")[0] for path in Path.cwd().iterdir() if path.is_dir())
said["lights"] = [light.name for light in lights()]

# A light that was turned by hand is the light that `relight --rotate` turns.
image = np.zeros((8, 16, 3), np.float32)
image[3, 5] = 1
lamp = NamedLight("lamp", image)
way = lamp.turning(4, 360.0, 1, 2)
grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 7)] * 3), -1).reshape(-1, 3) + 0.01
grid /= np.linalg.norm(grid, axis=-1, keepdims=True)
still = Environment(lamp.turned(90).image, np.eye(3)[None])
said["turned"] = float(np.abs(still.radiance(grid, 0) - way.radiance(grid, 0)).max())
said["lit"] = float(way.radiance(grid, 0).max())
said["pixels"] = [film_pixel((0, 0), (33, 48)), film_pixel((959, 659), (33, 48)), film_pixel((480, 330), (33, 48))]
assert "bpy" not in sys.modules and "gradio" not in sys.modules
print(json.dumps([said, mistakes]))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, str]]:
    """The folder in which everything was done, what was said of it, and the mistakes' messages."""
    folder = tmp_path_factory.mktemp("studio")
    make_dataset(folder / "set", sample=lambda scene, light: clip_sample(scene, light, size=48), items=1, per_shard=1)
    code, out, err = run_python(TINY + DRIVER, folder)
    assert code == 0, err[-3000:]
    return folder, *json.loads(out.splitlines()[-1])


def frames(path: str) -> np.ndarray:
    with open_video(Path(path)) as reader:
        return np.stack([frame for frame, _ in steady(reader)]).astype(int)


def test_a_clip_opens_with_its_size_length_and_gbuffers(done):
    _, said, _ = done
    assert said["pan"] == "pan.mkv · 48 x 33 · 6 frames at 10/s · G-buffers estimated"
    assert list(said["maps"]) == ["basecolor", "normal", "depth", "roughness", "metallic"]
    assert set(map(tuple, said["maps"].values())) == {(660, 960, 3)}


def test_a_click_selects_what_is_there_and_the_picture_shows_it(done):
    _, said, _ = done
    points, instance, share, shape = said["pick"]
    assert (points, instance, shape) == ([[20, 16]], None, [33, 48, 1])
    assert 0 <= share < 1
    assert len({share, *said["corrected"]}) == 3
    change, shape = said["tint"]
    assert change > 20
    assert shape == [660, 960, 3]
    assert 0 < said["marks"][0] < said["marks"][1]
    assert said["pixels"] == [[0, 0], [47, 32], [24, 16]]


def test_relighting_the_whole_clip_gives_a_video_and_gbuffers_to_download(done):
    folder, said, _ = done
    video, archive = said["relit"]
    assert frames(folder / video).shape == (6, 34, 48, 3)
    names = zipfile.ZipFile(archive).namelist()
    assert {"normal.mp4", "normal.png", "000000.exr", "000005.exr"} <= set(names)
    before, after, change = said["compare"]
    assert before == after == [33, 48, 3]
    assert change > 0.02
    assert said["own"] == [[32, 64, 3], True]


def test_a_phone_s_film_is_upright_at_its_speed_and_with_its_sound(done):
    """HEVC of ten bits in HLG, turned, of a varying rate, with sound and a track of data."""
    folder, said, _ = done
    opened, video, times, off = said["phone"]
    assert opened.startswith("phone.mov · 96 x 64 · 8 frames")
    assert MEANINGS["tone-mapped"] in opened
    assert off <= 3  # of 255, from the chart that was filmed
    with av.open(str(folder / video)) as made:
        assert [one.type for one in made.streams] == ["video", "audio"]
        shown = [(frame.time, frame.height, frame.width) for frame in made.decode(video=0)]
    np.testing.assert_allclose([frame[0] for frame in shown], times, atol=2e-3)
    assert {frame[1:] for frame in shown} == {(64, 96)}


def test_a_material_changes_the_selection_of_the_whole_clip_or_of_its_first_frame(done):
    folder, said, _ = done
    assert said["change"] == {"basecolor": "#ff0000", "metallic": 0.0}
    video, mask = said["edited"]
    selected = frames(folder / mask)[..., 0] > 128
    change = np.abs(frames(folder / video)[:, :33] - frames(folder / "pan.mkv")).max(axis=-1)
    assert change[selected[:, :33]].mean() > 20
    assert frames(folder / said["tried"][0]).shape[0] == 1
    assert said["tried"][1] > 0.005


def test_a_synthetic_clip_is_worked_on_with_its_truth(done):
    _, said, mistakes = done
    assert said["known"].endswith("its own G-buffers, camera and light")
    instance, share = said["instance"]
    assert instance == 2
    assert 0.02 < share < 0.6
    assert said["known light"] == 0
    assert mistakes["background"] == "that is the background; click an object"


def test_an_object_is_put_into_a_clip_by_blender_in_its_own_process(done):
    _, said, _ = done
    video, names, told = said["put"]
    assert told.startswith("box.glb at (")
    assert any(name.endswith(".exr") for name in names)
    before, after = said["red"]
    assert after > before + 0.05
    assert not Path(video).name.endswith("-first.mp4")


def test_projects_leave_nothing_when_they_close_or_cannot_open(done):
    _, said, _ = done
    assert said["closed"] is False
    assert said["folders"] == ["example", "forward", "inverse", "project", "set"]  # the one that is still open


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("long", "long.mp4: 8 frames, at most 7 are taken"),
        ("no video", "box.glb"),
        ("no change", "nothing is ticked"),
        ("no mesh", "pan.mkv"),
        ("no source", "nowhere.mp4"),
    ],
)
def test_mistakes_are_one_line(done, name, words):
    message = done[2][name]
    assert words in message
    assert "\n" not in message


def test_a_light_turns_by_hand_as_it_turns_over_a_clip(done):
    _, said, _ = done
    assert said["lit"] > 0.1
    assert said["turned"] < 1e-5
    assert {"courtyard", "studio/0000"} <= set(said["lights"])


def test_every_studio_offers_a_clip_to_begin_with_known_and_as_a_plain_video(done):
    assert done[1]["example"] == [[True, [32, 32], False], [False, [32, 32], True]]


def test_clips_are_offered_by_name(done):
    assert done[1]["offered"] == {"pan.mkv": "pan.mkv", "set:00000000-00": "set:00000000-00"}


def test_without_gradio_one_line_says_what_to_install():
    code = "import sys; sys.modules['gradio'] = None; from lightloom.cli import main; main()"
    line = ["studio", "--inverse", "weights", "--forward", "weights"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, *line]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "lightloom: gradio is not installed; pip install 'lightloom[studio]'\n"
