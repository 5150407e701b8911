"""Films by the names that people give them: any path that a shell allows, and some files of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editing.film import VideoWriter, film_writer, open_film
from manifests.errors import FootageError, InputError
from tests.labeling.footage import shot


@pytest.mark.parametrize(
    "name",
    [
        "12:30 out.mp4",
        "pipe:1.mp4",
        "http:x.mp4",
        "%d.mp4",
        "caf\udce9.mp4",
        "-x.mp4",
        "a?b#c.mp4",
        "x:y/z.mp4",
        " .mp4",
    ],
)
def test_a_film_is_written_and_read_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with VideoWriter(Path(name), (32, 48), 10) as video:
        for rgb in shot(1, 3, 32, 48):
            video.write(rgb)
    with open_film(name) as film:
        assert (film.frames, film.size) == (3, (32, 48))


@pytest.mark.parametrize("name", ["cat [1].png", "x*y?.png", "12:30.png"])
def test_a_picture_is_a_film_of_one_frame(tmp_path: Path, name: str) -> None:
    rgb = shot(3, 2, 33, 47)
    for other, content in (("cat 1.png", rgb[1]), ("xay1.png", rgb[1]), (name, rgb[0])):
        Image.fromarray(content).save(tmp_path / other)
    with open_film(tmp_path / name) as film, film_writer(tmp_path / "out" / "made.png", film) as writer:
        assert (film.frames, film.size) == (1, (33, 47))
        for frame, seconds in film.read():
            writer.write(frame, seconds)
        assert not film.problems
    with Image.open(tmp_path / "out" / "made.png") as made:
        np.testing.assert_array_equal(np.asarray(made), rgb[0])
    with VideoWriter(tmp_path / "two.mp4", (33, 47), 10) as video:
        for each in rgb:
            video.write(each)
    with open_film(tmp_path / "two.mp4") as film, pytest.raises(InputError, match=r"cannot hold 2 frames.*\.mp4"):
        film_writer(tmp_path / "out" / "two.png", film)
    with open_film(tmp_path / name) as film, pytest.raises(InputError, match="written as"):
        film_writer(tmp_path / "out" / "made.gif", film)


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    folder = tmp_path / "kubric"
    folder.mkdir()
    for seed, kind in enumerate(("rgba", "normal")):
        for number, rgb in enumerate(shot(seed, 4)):
            Image.fromarray(rgb).save(folder / f"{kind}_{number:05d}.png")
    return folder


def test_a_pattern_chooses_the_frames_of_a_folder(kinds: Path) -> None:
    with pytest.raises(FootageError, match=r"rgba_\*\.png"):
        open_film(kinds)
    for seed, kind in enumerate(("rgba", "normal")):
        with open_film(kinds / f"{kind}_*.png") as film:
            frames = [frame for frame, _ in film.read()]
        np.testing.assert_allclose(np.stack(frames) * 255, shot(seed, 4), atol=1e-3)
    with pytest.raises(FootageError, match="no images"):
        open_film(kinds / "depth_*.png")


def test_a_folder_without_frames_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "frame.0001.dpx").write_bytes(b"x")
    (tmp_path / "frame.0002.dpx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"2 files are no footage.*frame\.0001\.dpx"):
        open_film(tmp_path)
