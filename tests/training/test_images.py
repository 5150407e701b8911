from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from manifests.codec.exr import write_exr
from manifests.errors import DatasetError
from training.data.augment import Augmentation
from training.data.clip_sources import open_source
from training.data.image_folders import ImageSource
from training.data.loader import Loader, LoaderOptions

HEIGHT, WIDTH = 12, 16


def _exr(path: Path, image: np.ndarray, letters: str) -> None:
    image = image.astype(np.float32)
    path.write_bytes(write_exr({letter: image[..., index] for index, letter in enumerate(letters)}))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Two pictures in two rooms, in the default layout, as EXR."""
    rng = np.random.default_rng(0)
    for room in ("room1", "room2"):
        folder = tmp_path / "set" / room
        folder.mkdir(parents=True)
        depth = rng.uniform(1, 5, (HEIGHT, WIDTH, 1))
        depth[:2] = 0  # sky
        normal = rng.normal(size=(HEIGHT, WIDTH, 3))
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        _exr(folder / "000_rgb.exr", rng.uniform(0, 3, (HEIGHT, WIDTH, 3)), "RGB")
        _exr(folder / "000_basecolor.exr", rng.uniform(0, 1, (HEIGHT, WIDTH, 3)), "RGB")
        _exr(folder / "000_normal.exr", normal, "XYZ")
        _exr(folder / "000_depth.exr", depth, "Z")
        _exr(folder / "000_roughness.exr", rng.uniform(0, 1, (HEIGHT, WIDTH, 1)), "Y")
        _exr(folder / "000_metallic.exr", rng.uniform(0, 1, (HEIGHT, WIDTH, 1)), "Y")
    return tmp_path / "set"


def test_a_folder_is_a_source_of_one_frame_clips(plain: Path, tmp_path: Path) -> None:
    source = open_source(plain, tmp_path, 1)
    assert [entry.key for entry in source.entries] == ["room1-000", "room2-000"]
    options = LoaderOptions(Augmentation(1, (8, 8)), batch=2, panorama=None)
    with Loader(source, options) as loader:
        batch = next(loader).to("cpu")
    assert batch.rgb.shape == (2, 1, 3, 8, 8) and batch.gbuffers["normal"].shape == (2, 1, 3, 8, 8)
    assert not batch.real.any() and batch.panorama is None


def test_skies_get_the_table_s_background(plain: Path) -> None:
    clip = ImageSource(plain).clip(0, ("rgb", "basecolor", "normal", "depth", "roughness", "mask"), None, light=False)
    sky = {name: array[0, :2] for name, array in clip.arrays.items()}
    assert np.isinf(sky["depth"]).all() and (sky["roughness"] == 0.5).all() and (sky["mask"] == 0).all()
    assert (sky["normal"] == [0, 0, 1]).all() and (sky["basecolor"] == 0).all()
    assert clip.arrays["mask"][0, 2:].min() == 1 and np.isfinite(clip.arrays["depth"][0, 2:]).all()


def test_the_sets_own_conventions_are_brought_to_the_table_s(tmp_path: Path) -> None:
    """InteriorVerse names, roughness and metallic in one file, 8-bit colours, flipped normals, HyperSim's distances."""
    folder = tmp_path / "interior"
    folder.mkdir()
    layout = {
        "suffixes": {"rgb": "_im", "basecolor": "_albedo", "material": "_material"},
        "normal_axes": [1, -1, 1],
        "normal_encoded": True,
        "depth": "distance",
        "fov": 90,
        "shorter_side": 6,
    }
    (folder / "images.yaml").write_text(yaml.safe_dump(layout))
    gray = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    Image.fromarray(gray).save(folder / "007_im.png")
    Image.fromarray(gray).save(folder / "007_albedo.png")
    leaning = np.array([0.6, 0.8, 0.0])
    encoded = np.rint((0.5 * leaning + 0.5) * 255).astype(np.uint8)
    Image.fromarray(np.broadcast_to(encoded, (HEIGHT, WIDTH, 3)).copy()).save(folder / "007_normal.png")
    _exr(folder / "007_depth.exr", np.full((HEIGHT, WIDTH, 1), 2.0), "Z")
    Image.fromarray(np.broadcast_to(np.array([51, 204, 0], np.uint8), (HEIGHT, WIDTH, 3)).copy()).save(
        folder / "007_material.png"
    )
    source = ImageSource(folder)
    assert (source.entries[0].height, source.entries[0].width) == (6, 8)
    clip = source.clip(0, ("rgb", "basecolor", "normal", "depth", "roughness", "metallic", "mask"), None, light=False)
    np.testing.assert_allclose(clip.arrays["basecolor"], 128 / 255, atol=1e-5)
    np.testing.assert_allclose(clip.arrays["normal"][0, 3, 3], [0.6, -0.8, 0.0], atol=0.01)
    np.testing.assert_allclose(clip.arrays["roughness"], 0.2, atol=1e-5)
    np.testing.assert_allclose(clip.arrays["metallic"], 0.8, atol=1e-5)
    corner, middle = clip.arrays["depth"][0, 0, 0, 0], clip.arrays["depth"][0, 3, 4, 0]
    assert middle == pytest.approx(2 / np.sqrt(1 + 2 * 0.1875**2), rel=1e-3)
    assert corner == pytest.approx(2 / np.sqrt(1 + 0.8125**2 + 0.5625**2), rel=1e-3)
    assert clip.camera is not None and clip.camera.intrinsics[0, 0] == pytest.approx(4.0)


def test_what_is_wrong_is_named(plain: Path, tmp_path: Path) -> None:
    (plain / "room2" / "000_metallic.exr").unlink()
    with pytest.raises(DatasetError, match=r"room2/000_rgb: has no metallic beside it"):
        ImageSource(plain)
    (plain / "images.yaml").write_text("fovv: 60\n")
    with pytest.raises(DatasetError, match=r"images.yaml: .*fovv"):
        ImageSource(plain)
    with pytest.raises(DatasetError, match="holds no picture"):
        ImageSource(tmp_path / "nothing")
