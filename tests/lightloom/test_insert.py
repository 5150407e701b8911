"""`lightloom insert`, in a process of its own; Blender, which it starts, in another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from manifests.codec.codecs import decode_clip
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_encode
from tests.lightloom.torchlines import TINY, run_and_look
from tests.manifests.clips import clip_sample, make_dataset

SETUP = """
from tests.datagen.meshfiles import GltfFile
from tests.labeling.footage import encode, shot
GltfFile({"name": "paint", "pbrMetallicRoughness": {"baseColorFactor": [0.8, 0.1, 0.05, 1.0]}}).glb(Path("box.glb"))
Path("bad.glb").write_bytes(b"glTF nonsense")
encode(Path("wide.mp4"), shot(2, 4, 32, 48), stamps=[0, 40, 400, 440])
"""
KILLS = """
import os, subprocess, tempfile, time
import datagen.child, labeling.cameras.camera_files
scratch = Path("scratch").absolute()
scratch.mkdir()
tempfile.tempdir = str(scratch)

def dies(*_, **__):
    os.kill(os.getpid(), 9)

def dies_beside_blender(command, **_):
    subprocess.Popen(command, env=datagen.child.environment() | {"TMPDIR": command[-1]})
    time.sleep(0.5)
    dies()

line = ["insert", "wide.mp4", "--asset", "builtin/mesh/sphere", "--at", "24,24", "--depth", "0.4",
        "--inverse", "inverse", "--camera", "solve", "--out", "solved/once.mp4", "--device", "cpu"]
left = {}
for when, owner, name, end in (
    ("killed while solving", labeling.cameras.camera_files, "solve_tracks", dies),
    ("killed beside Blender", datagen.child.subprocess, "run", dies_beside_blender),
):
    child = os.fork()
    if child == 0:
        setattr(owner, name, end)
        lightloom.cli.run(line)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 9
    left[when] = [path.name for path in Path("solved").glob("*")]
Path("solved/.once.mp4.1-00000000.tmp").write_bytes(b"half")
"""
LOOK = """
import psutil
lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
left["left"] = [path.name for path in scratch.glob("*/*")] + [line for line in lines if str(scratch) in line]
extra = left
"""
"""Before anything else the line `once` is killed twice, and finds what is left of that."""
WEIGHTS = ("--forward", "forward", "--device", "cpu")
LINES: dict[str, tuple[str, ...]] = {
    "clip": (
        *("set:00000000-00", "--asset", "box.glb", "--at", "10,36", "--rotate", "20", "--scale", "0.9"),
        *("--out", "clip.mp4", "--gbuffers", "maps", "--render", "network", *WEIGHTS),
    ),
    "traced": (
        *("set:00000000-00", "--asset", "box.glb", "--at", "10,36", "--scale", "20%", "--spin", "90"),
        *(
            "--asset",
            "builtin/mesh/sphere",
            "--at",
            "24,40",
            "--rotate",
            "15",
            "--out",
            "traced.mp4",
            "--device",
            "cpu",
        ),
    ),
    "video": (
        *(
            "wide.mp4",
            "--asset",
            "builtin/mesh/rock/asteroid/0000",
            "--at",
            "24,24",
            "--depth",
            "0.4",
            "--out",
            "video.mp4",
        ),
        *("--inverse", "inverse", "--camera", "assume", *WEIGHTS),
    ),
    **{
        name: (
            *("wide.mp4", "--asset", "builtin/mesh/sphere", "--at", "24,24", "--depth", "0.4"),
            *("--inverse", "inverse", "--camera", "solve", "--out", f"solved/{name}.mp4", "--device", "cpu"),
        )
        for name in ("once", "twice")
    },
    "outside": ("set:00000000-00", "--asset", "box.glb", "--at", "48,10", "--out", "a.mp4", *WEIGHTS),
    "no pixel": ("wide.mp4", "--asset", "box.glb", "--at", "left", "--out", "a.mp4", *WEIGHTS),
    "on the sky": ("set:00000000-00", "--asset", "box.glb", "--at", "2,0", "--out", "a.mp4", *WEIGHTS),
    "no size": ("set:00000000-00", "--asset", "box.glb", "--at", "9,36", "--scale", "big", "--out", "a.mp4"),
    "no second place": ("wide.mp4", *2 * ("--asset", "box.glb"), "--at", "3,3", "--out", "a.mp4", *WEIGHTS),
    "no asset": ("wide.mp4", "--asset", "none.glb", "--at", "3,3", "--out", "a.mp4", *WEIGHTS),
    "bad asset": ("set:00000000-00", "--asset", "bad.glb", "--at", "10,36", "--out", "a.mp4", *WEIGHTS),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder in which every command line ran, (exit code, stdout, stderr) of each, and what killed ones left."""
    folder = tmp_path_factory.mktemp("insert")
    make_dataset(folder / "set", sample=lambda scene, light: clip_sample(scene, light, size=48), items=1, per_shard=1)
    lines = {name: ("insert", *line) for name, line in LINES.items()}
    results, left = run_and_look(folder, lines, TINY + SETUP + KILLS, LOOK)
    return folder, results | left


def frames(path: Path) -> np.ndarray:
    """(T, H, W, 3) in [0, 1]."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]) / 255.0


def test_a_clip_gets_the_object_with_true_gbuffers_camera_and_light(done):
    folder, results = done
    code, out, err = results["clip"]
    assert code == 0, err
    assert "the clip's own poses" in out
    original = decode_clip("00000000-00", clip_sample(0, size=48).files)
    made = decode_clip("inserted", read(folder / "maps", "inserted"))
    own = made.arrays["instance"] == 3
    assert own.sum() > 100
    assert (made.arrays["depth"][own] < original.arrays["depth"][own]).all()
    assert (made.arrays["depth"][~own] == original.arrays["depth"][~own]).all()
    assert np.abs(np.median(made.arrays["basecolor"][own[..., 0]], axis=0) - (0.8, 0.1, 0.05)).max() < 0.01


def test_the_picture_keeps_the_input_where_nothing_changed_and_shows_the_object(done):
    folder, _ = done
    original: Clip = decode_clip("00000000-00", clip_sample(0, size=48).files)
    before = np.clip(srgb_encode(original.exposure * original.arrays["rgb"]), 0, 1)
    after = frames(folder / "clip.mp4")
    own = decode_clip("inserted", read(folder / "maps", "inserted")).arrays["instance"][..., 0] == 3
    assert after.shape == before.shape
    sky = original.arrays["mask"][..., 0] == 0
    sky[:, 1:-1, 1:-1] &= ~own[:, 1:-1, 1:-1]
    assert np.median(np.abs(after - before)[sky]) < 0.02
    reddish = after[own][:, 0] - after[own][:, 2]
    assert reddish.mean() > 0.15
    ground = (original.arrays["instance"][..., 0] == 1) & ~own
    darker = (before - after)[ground].mean(axis=-1)
    assert (darker > 0.05).sum() > 20  # its shadow


def test_the_same_film_gives_the_same_bytes_and_its_camera_is_kept_for_both(done):
    folder, results = done
    assert [results[name][0] for name in ("once", "twice")] == [0, 0], results["once"]
    kept = sorted(path.name for path in (folder / "solved").iterdir())
    assert kept == ["once.mp4", "twice.mp4", "wide.camera.json"]
    assert (folder / "solved" / "once.mp4").read_bytes() == (folder / "solved" / "twice.mp4").read_bytes()


def test_an_insert_that_was_killed_goes_on_to_the_same_bytes_and_leaves_nothing(done):
    folder, results = done
    assert results["killed while solving"] == []
    assert results["killed beside Blender"] == ["wide.camera.json"]
    assert results["left"] == []
    assert not list((folder / "solved").glob(".*"))  # what "once" found there is gone


def test_cycles_puts_two_things_in_one_of_which_turns(done):
    folder, results = done
    code, out, err = results["traced"]
    assert code == 0, err
    assert out.count("object     ") == 2
    original: Clip = decode_clip("00000000-00", clip_sample(0, size=48).files)
    before = np.clip(srgb_encode(original.exposure * original.arrays["rgb"]), 0, 1)
    after = frames(folder / "traced.mp4")
    change = after - before
    assert (np.abs(change).max(axis=-1) > 0.1).mean() > 0.01
    box = change[:, 24:38, 4:17]
    assert ((box[..., 0] - box[..., 2]).max(axis=(1, 2)) > 0.1).all()  # it is red, in every frame
    assert np.median(np.abs(change[:, :8])) < 0.02  # and far from both the clip is as it was


def test_a_video_takes_an_object_and_says_what_it_assumed(done):
    folder, results = done
    code, out, err = results["video"]
    assert code == 0, err
    assert "assumed to stand still" in out
    with av.open(str(folder / "video.mp4")) as made:
        shown = [(frame.time, frame.height, frame.width) for frame in made.decode(video=0)]
    assert [frame[1:] for frame in shown] == [(32, 48)] * 4
    np.testing.assert_allclose([frame[0] for frame in shown], [0.0, 0.04, 0.4, 0.44], atol=2e-3)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("outside", "pixel 48,10 is outside of the picture of 48x48 pixels"),
        ("no pixel", "--at 'left' is no pixel"),
        ("on the sky", "no surface is seen at pixel 2,0"),
        ("no size", "--scale 'big' is no size"),
        ("no second place", "2 --asset and 1 --at were given"),
        ("no asset", "none.glb: no such file"),
        ("bad asset", "bad.glb"),
    ],
)
def test_mistakes_are_one_line(done, line, expected):
    folder, results = done
    code, out, err = results[line]
    assert (code, out) == (1, "")
    assert expected in err.strip().splitlines()[-1]
    assert len(err.strip().splitlines()) == 1
    assert not (folder / "a.mp4").exists()


def read(folder: Path, key: str) -> Mapping[str, bytes]:
    return {path.name.removeprefix(f"{key}."): path.read_bytes() for path in folder.glob(f"{key}.*")}
