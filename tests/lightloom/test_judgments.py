"""`lightloom evaluate real`: judgments by eye, on pictures that the test paints."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from editing.benchmark.judgments import (
    JUDGMENTS,
    JudgedPicture,
    Judgments,
    ground_plane,
    judged_picture,
    outcomes,
    read_judgments,
    score_real,
)
from manifests.errors import InputError
from tests.lightloom.torchlines import TINY, run_lines

SIZE = (40, 60)


def painted() -> np.ndarray:
    """A sky, a white wall and a dark floor, uint8."""
    picture = np.zeros((*SIZE, 3), dtype=np.uint8)
    picture[:15], picture[15:25], picture[25:] = (120, 160, 255), 230, 60
    return picture


def true_maps(rgb: np.ndarray) -> dict[str, np.ndarray]:
    """What one sees in it: G-buffers (H, W, C)."""
    height, width = rgb.shape[:2]
    row = np.arange(height)[:, None, None] / height
    rows = np.broadcast_to(row, (height, width, 1))
    wall, floor = (rows >= 0.375) & (rows < 0.625), rows >= 0.625
    normal = np.where(floor, [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    depth = np.where(floor, 1.0 - rows, np.where(wall, 0.5, 1.0))
    return {"basecolor": np.where(floor, 0.05, [0.8] * 3), "normal": normal, "depth": depth, "metallic": 0 * rows}


def judged(data: bytes, **more: Any) -> JudgedPicture:
    return JudgedPicture(
        name="painted",
        file="pictures/painted.png",
        sha256=hashlib.sha256(data).hexdigest(),
        package="painted-things",
        version="1.0",
        nearer=(((50, 90), (50, 50)), ((20, 90), (80, 70))),
        background=((50, 10), (90, 20)),
        surface=((50, 50), (50, 90)),
        up=((30, 90),),
        wall=((30, 50),),
        facing=((70, 50),),
        same=(((10, 50), (90, 55)),),
        darker=(((50, 90), (50, 50)),),
        dielectric=((50, 50), (50, 90)),
        **more,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    Image.fromarray(painted()).save(tmp_path / "pictures" / "painted.png")
    return tmp_path


def data_of(folder: Path) -> bytes:
    return (folder / "pictures" / "painted.png").read_bytes()


def test_what_is_seen_agrees_with_every_judgment_and_its_opposite_with_none(folder: Path) -> None:
    one, maps = judged(data_of(folder)), true_maps(painted())
    assert all(agrees for _, agrees in outcomes(one, maps))
    assert len(list(outcomes(one, maps))) == 2 + 4 + 1 + 1 + 1 + 1 + 1 + 2
    wrong = {
        "basecolor": np.ones((*SIZE, 3)) * np.linspace(0.1, 0.8, SIZE[1])[:, None],
        "normal": maps["normal"][..., [0, 2, 1]],
        "depth": -maps["depth"],
        "metallic": 1 - maps["metallic"],
    }
    assert not any(agrees for _, agrees in outcomes(one, wrong))


def test_scores_are_shares_at_each_size_beside_the_baselines(folder: Path) -> None:
    seen: list[tuple[int, int]] = []

    def predict(rgb: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(rgb.shape[:2])
        return true_maps(rgb)

    pictures = (judged(data_of(folder)), judged(data_of(folder)))
    absent = JudgedPicture(name="absent", file="absent.png", sha256="0" * 64)
    scores = score_real(
        folder, Judgments(format="lightloom-judgments-1", pictures=(*pictures, absent)), predict, (30, 120)
    )
    assert seen == [(20, 30), (80, 120)] * 2
    assert scores.missing == ("absent.png",)
    assert scores.counts["background"] == 8
    assert set(scores.shares["30 pixels"].values()) == {1.0}
    ground = scores.shares["ground plane, picture as base colour"]
    assert (ground["up"], ground["wall"], ground["background"], ground["dielectric"]) == (1, 0, 1, 1)
    assert "| 120 pixels | 1.00 |" in scores.markdown()


def test_higher_is_farther_on_the_ground_plane() -> None:
    depth = ground_plane(painted() / 255.0)["depth"]
    assert (np.diff(depth[:, 0, 0]) < 0).all()


def test_a_picture_lies_in_a_wheel_too_and_must_be_the_one_that_was_judged(folder: Path) -> None:
    data, path = data_of(folder), folder / "pictures" / "painted.png"
    with zipfile.ZipFile(folder / "painted_things-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(path, "pictures/painted.png")
    path.unlink()
    found = judged_picture(judged(data), folder)
    assert found is not None
    np.testing.assert_array_equal(np.round(found * 255), painted())
    path.write_bytes(data + b"more")
    with pytest.raises(InputError, match="another SHA-256"):
        judged_picture(judged(data), folder)


def test_the_judgments_that_come_with_the_package_are_many_and_say_where_their_pictures_are() -> None:
    pictures = read_judgments().pictures
    assert len(pictures) >= 8
    lists = ("nearer", "up", "wall", "facing", "same", "darker", "dielectric")
    assert sum(len(getattr(picture, name)) for picture in pictures for name in lists) >= 100
    assert all(len(picture.sha256) == 64 and picture.package and picture.version for picture in pictures)
    assert all(bool(picture.background) == bool(picture.surface) for picture in pictures)


SETUP = """
import hashlib, json
from tests.lightloom.test_judgments import painted
from PIL import Image
Path("folder").mkdir()
Image.fromarray(painted()).save("folder/a.png")
digest = hashlib.sha256(Path("folder/a.png").read_bytes()).hexdigest()
picture = {"name": "a", "file": "a.png", "sha256": digest, "up": [[30, 90]], "darker": [[[50, 90], [50, 50]]]}
Path("ours.json").write_text(json.dumps({"format": "lightloom-judgments-1", "pictures": [picture]}))
Path("theirs.json").write_text(json.dumps({"pictures": [picture]}))
"""
LINES = {
    "scored": ("real", "folder", "--judgments", "ours.json", "--side", "32", "--inverse", "inverse"),
    "no pictures": ("real", ".", "--inverse", "inverse"),
    "no judgments": ("real", "folder", "--judgments", "theirs.json", "--inverse", "inverse"),
}


def test_the_command_prints_the_table_and_says_what_is_missing(tmp_path: Path) -> None:
    results = run_lines(tmp_path, "evaluate", LINES, TINY + SETUP)
    code, table, message = results["scored"]
    assert code == 0, message
    assert [line.split(" | ")[0] for line in table.splitlines()[2:5]] == ["| 16 pixels", "| 32 pixels", "| 64 pixels"]
    assert "| share right | up (1) | darker (1) |" in table
    for name, words in (("no pictures", "pip download --no-deps"), ("no judgments", "format")):
        assert results[name][0] == 1
        assert words in results[name][2]
        assert len(results[name][2].splitlines()) == 1


def test_the_shipped_file_is_json_of_the_documented_format() -> None:
    assert json.loads(JUDGMENTS.read_bytes())["format"] == "lightloom-judgments-1"
