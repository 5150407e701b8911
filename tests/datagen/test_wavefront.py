from __future__ import annotations

import time
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
        (Phong("", shininess=490.0, illumination=3, from_blender=True), 0.3),
        (Phong("", shininess=0.0, illumination=1, from_blender=True), 1.0),
        (Phong("", shininess=490.0, roughness=0.7, from_blender=True), 0.7),
        (Phong("", roughness=1.5), 1.0),
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
    ("library", "metallic", "roughness"),
    [
        ("newmtl paint\nKa 0.8 0.8 0.8\nNs 490\nillum 3\n", 0.0, 0.2525),
        ("# Blender 5.2.3 LTS MTL File: 'None'\nnewmtl paint\nNs 490\nKa 0.8 0.8 0.8\nillum 3\n", 0.8, 0.3),
        ("# Blender 3.3.1 MTL File: 'a.blend'\nnewmtl paint\nNs 250\nKa 1 1 1\nillum 2\n", 0.0, 0.5),
        ("# Blender MTL File: 'a.blend'\nnewmtl paint\nNs 96.078431\nKa 1 1 1\nillum 3\n", 0.0, 0.37784),
        ("newmtl paint\nPm 0.8\nPr 0.3\nNs 10\nillum 2\n", 0.8, 0.3),
        ("newmtl paint\nPm 7\nPr -1\nillum 1\n", 1.0, 0.0),
        ("newmtl paint\nPr 0.4\nillum 0\n", 0.0, 0.4),
        ("newmtl paint\nNs 96\nKs 0.5 0.5 0.5\nillum 0\n", 0.0, 1.0),
        ("newmtl paint\nNs 30\nKs 1 1 1\nillum 4\n", 0.0, 0.5),
        ("newmtl paint\nKe 5 5 5\nNs 30\nillum 2\n", 0.0, 0.5),
    ],
)
def test_metalness_and_roughness_are_what_the_exporter_meant(
    tmp_path: Path, library: str, metallic: float, roughness: float
) -> None:
    (paint,) = Wavefront.read(obj(tmp_path, library)).materials
    assert paint.metalness == pytest.approx(metallic)
    assert paint.perceptual_roughness == pytest.approx(roughness, abs=1e-4)


@pytest.mark.parametrize(
    ("line", "colours"),
    [
        ("v 0 0 0", False),
        ("v 0 0 0 1", False),
        ("v 0 0 0 1 0.5 0.25", True),
        ("\tv  0 0 0 255 128 0 ", True),
        ("v 0 0 0 1 0.5 0.25 1", True),
        ("v 1e-3 0 0 1e-1 0.5 0.25", True),
        ("vn 0 0 0 1 0.5 0.25", False),
        ("#MRGB ffff0000ffff0000", True),
    ],
)
def test_colours_on_v_lines_are_seen(tmp_path: Path, line: str, colours: bool) -> None:
    path = tmp_path / "a.obj"
    path.write_text(f"v 0 0 0\n{line}\r\nf 1 1 1\n")
    assert ("vertex-colours" in inspect(path).flags) is colours


@pytest.mark.parametrize(
    "number", ["1e39", "-1E+040", "1e0039", "4" + "0" * 38, "-1.#IND", "1.#INF", "0" * 500 + "1e99"]
)
def test_numbers_beyond_single_precision_are_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "a.obj"
    path.write_text(f"v {number} 0 0\nf 1 1 1\n")
    with pytest.raises(AssetError) as caught:
        inspect(path)
    assert caught.value.reason == "bad-geometry"


@pytest.mark.parametrize("line", ["v 1e38 0 0", "v 1e-50 0 0", "# nan inf 1e99", "usemtl infinite", "vn nan 0 0"])
def test_numbers_that_single_precision_holds_pass(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.obj"
    path.write_text(f"v 0 0 0\n{line}\nf 1 1 1\n")
    assert inspect(path).format == "obj"


@pytest.mark.parametrize(
    ("text", "library", "reason"),
    [
        ("f 1 1 1\n", "newmtl paint\n" + "map_Kd x.png\n" * 60_000, "missing-texture"),
        ("f 1 1 1\n", "newmtl paint\n" + "".join(f"map_Kd {n}.png\n" for n in range(60_000)), "too-large"),
        ("f 1 1 1\n", "newmtl paint\nNs 1\n" * 500_000, "too-large"),
        ("f " + "1 " * 600_000 + "\n", "newmtl paint\n", "too-large"),
        ("v " + "0" * 2_000_000 + " 0 0\nf 1 1 1\n", "newmtl paint\n", "too-large"),
        ("".join(f"mtllib {n}.mtl\n" for n in range(10_000)) + "f 1 1 1\n", "newmtl paint\n", "too-large"),
        ("mtllib " + "a " * 200_000 + "\nf 1 1 1\n", "newmtl paint\n", "missing-file"),
        (f"mtllib {'a' * 100_000}\nf 1 1 1\n", "newmtl paint\n", "missing-file"),
    ],
    ids=["one map", "maps", "library", "face", "number", "libraries", "names", "name"],
)
def test_what_would_take_minutes_is_refused_at_once(tmp_path: Path, text: str, library: str, reason: str) -> None:
    path = tmp_path / "a.obj"
    path.write_text(f"mtllib a.mtl\nusemtl paint\nv 0 0 0\n{text}")
    (tmp_path / "a.mtl").write_text(library)
    started = time.process_time()
    with pytest.raises(AssetError) as caught:
        inspect(path)
    assert caught.value.reason == reason
    assert time.process_time() - started < 2


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
