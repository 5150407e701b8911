"""Films by the names that people give them: any path that a shell allows, and some files of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editing.film import VideoWriter, open_film
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
    (tmp_path / "frame.0001.exr").write_bytes(b"x")
    (tmp_path / "frame.0002.exr").write_bytes(b"x")
    with pytest.raises(InputError, match=r"2 files are no footage.*frame\.0001\.exr"):
        open_film(tmp_path)
