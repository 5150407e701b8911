from __future__ import annotations

from pathlib import Path

import pytest

from datagen.assets.asset_file import AssetError
from datagen.assets.inspection import inspect
from datagen.assets.wavefront import Phong, Wavefront
from tests.datagen.meshfiles import noise_png, obj


@pytest.mark.parametrize(
    ("phong", "roughness"),
    [
        (Phong("", shininess=0.0, illumination=2), 1.0),
        (Phong("", shininess=30.0, illumination=2), 0.5),
        (Phong("", shininess=96.0784, specular=(0.5, 0.5, 0.5), illumination=2), 0.37784),
        (Phong("", shininess=1000.0), 0.21137),
        (Phong("", shininess=96.0, specular=(0.0, 0.0, 0.0)), 1.0),
        (Phong("", shininess=96.0, illumination=1), 1.0),
        (Phong(""), 1.0),
        (Phong("", shininess=96.0, roughness=0.25), 0.25),
        (Phong("", shininess=-5.0), 1.0),
    ],
)
def test_shininess_becomes_roughness(phong: Phong, roughness: float) -> None:
    assert phong.perceptual_roughness == pytest.approx(roughness, abs=1e-4)


def test_libraries_are_read_with_options_and_odd_spacing(tmp_path: Path) -> None:
    (tmp_path / "my wood.png").write_bytes(noise_png())
    library = (
        "newmtl other\nNs 3\n"
        "newmtl paint\n\tNs   12.5\nKs 0.1 0.2 0.3\nTr 0.25\nillum 2\n"
        "map_Kd -s 1 1 1 -o 0.5 -bm 2 my wood.png\nbump -bm 0.4 my wood.png\nmap_Ka nowhere.png\nNs x\n"
    )
    path = obj(tmp_path, library)
    paint = Wavefront.read(path).materials[1]
    assert paint == Phong(
        "paint",
        shininess=12.5,
        specular=(0.1, 0.2, 0.3),
        illumination=2,
        opacity=0.75,
        maps=(("map_kd", "my wood.png"), ("bump", "my wood.png")),
    )
    assert inspect(path, decode=True).flags == ("constant-specular", "alpha")


@pytest.mark.parametrize(
    ("lines", "opacity"),
    [
        ("", 1.0),
        ("d 1.0", 1.0),
        ("d 0.25", 0.25),
        ("d -halo 0.25", 0.25),
        ("Tr 0.0", 1.0),
        ("Tr 0.75", 0.25),
        ("Tr 1.000000", 1.0),
        ("tr 1", 1.0),
        ("d 1.0\nTr 1.0", 1.0),
        ("Tr 1.0\nd 1.0", 1.0),
        ("d 0.25\nTr 0.75", 0.25),
        ("Tr 0.75\nd 0.25", 0.25),
        ("d 0.5\nTr 0.5", 0.5),
        ("d 1.0\nTr 0.25", 1.0),
    ],
)
def test_opacity_is_d_and_else_what_tr_leaves(tmp_path: Path, lines: str, opacity: float) -> None:
    path = obj(tmp_path, f"newmtl paint\n{lines}\nillum 2\n")
    (paint,) = Wavefront.read(path).materials
    assert paint.opacity == opacity
    assert ("alpha" in inspect(path).flags) == (opacity < 1)


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        ("newmtl paint\nmap_Kd gone.png\n", "missing-texture"),
        ("newmtl paint\nmap_Kd ../wood.png\n", "escapes-folder"),
        ("newmtl paint\nmap_Kd ..\\wood.png\n", "escapes-folder"),
        ("newmtl paint\nmap_Kd /etc/passwd\n", "escapes-folder"),
        ("newmtl paint\nmap_Kd box.obj\n", "bad-texture"),
    ],
)
def test_maps_must_be_images_of_the_folder(tmp_path: Path, library: str, reason: str) -> None:
    folder = tmp_path / "asset"
    folder.mkdir()
    (tmp_path / "wood.png").write_bytes(noise_png())
    with pytest.raises(AssetError) as caught:
        inspect(obj(folder, library))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mtllib gone.mtl\nv 0 0 0\nf 1 1 1\n", "missing-file"),
        ("mtllib ../../etc/passwd\nv 0 0 0\nf 1 1 1\n", "escapes-folder"),
        ("v 0 0 0\np 1\n", "no-geometry"),
        ("v 0 NaN 0\nf 1 1 1\n", "bad-geometry"),
        ("v 0 0 0\nf 1 1 1\n".encode("utf-16").decode("latin-1"), "malformed"),
        ("", "malformed"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "bad.obj"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(AssetError) as caught:
        inspect(path)
    assert caught.value.reason == reason


def test_a_material_nobody_uses_may_miss_its_maps(tmp_path: Path) -> None:
    path = obj(tmp_path, "newmtl paint\nNs 10\nnewmtl unused\nmap_Kd gone.png\n")
    assert inspect(path).flags == ("untextured", "constant-specular")
