import os
from pathlib import Path

import numpy as np
import pytest

from manifests.codec.exr import write_exr
from manifests.errors import SpecError
from scenes.catalogue import Catalogue, MeshMeasurement, assign_split
from scenes.providers.file_checks import place_of
from scenes.providers.folder import folder_catalogue
from scenes.providers.folder_licences import licences_in
from scenes.spec import Footprint
from tests.scenes.assetfiles import exr, glb, image


def hdr(path: Path, height: int, width: int) -> Path:
    path.write_bytes(
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (height, width)
        + bytes([9, 9, 9, 128]) * (height * width)
    )
    return path


def sidecar(folder: Path, text: str) -> None:
    (folder / "lightloom-assets.yaml").write_text(text)


def reasons(catalogue: Catalogue) -> dict[str, str]:
    return {problem.path: problem.reason for problem in catalogue.problems}


def test_meshes_textures_and_environments_are_found_with_licence_and_author(tmp_path):
    glb(tmp_path / "chairs" / "chair.glb")
    image(tmp_path / "wood" / "Wood_1K-JPG_Color.jpg", 1)
    image(tmp_path / "wood" / "Wood_1K-JPG_Roughness.jpg", 2)
    image(tmp_path / "wood" / "Wood_1K-JPG_NormalDX.jpg", 3)
    exr(tmp_path / "sky" / "old_hall_4k.exr")
    sidecar(
        tmp_path,
        "assets:\n"
        "  - {path: 'chairs/**', licence: cc-by-4.0, author: Ann, url: 'https://example.org'}\n"
        "  - {path: wood, licence: CC0-1.0, author: Bob, size: 0.4}\n"
        "  - {path: '**', licence: CC0-1.0, author: Eve}\n",
    )
    catalogue = folder_catalogue(tmp_path, "mine")
    assert catalogue.problems == ()
    assert catalogue.roots == {"mine": tmp_path.resolve()}
    chair, wood, sky = (catalogue[f"mine/{name}"] for name in ("chairs/chair.glb", "wood", "sky/old_hall_4k.exr"))
    assert (chair.kind, chair.licence, chair.author, chair.url) == ("mesh", "CC-BY-4.0", "Ann", "https://example.org")
    assert (chair.score, chair.flags, chair.footprint) == (0.0, ("unscored",), None)
    assert (wood.kind, wood.author, wood.material.size, wood.material.path) == ("material", "Bob", 0.4, "wood")
    assert wood.flags == ("no-metallic", "normal-dx")
    assert (sky.kind, sky.author, sky.place, sky.environment.path) == (
        "environment",
        "Eve",
        "old_hall",
        "sky/old_hall_4k.exr",
    )
    assert len(sky.sha256) == 64


def test_scored_meshes_of_a_folder_are_sampled(tmp_path):
    glb(tmp_path / "a.glb")
    sidecar(tmp_path, "assets: [{path: '*', licence: MIT}]")
    catalogue = folder_catalogue(tmp_path, "mine")
    assert catalogue.select("mesh", "all") == ()
    scored = catalogue.with_scores(
        {"mine/a.glb": MeshMeasurement(score=1.0, footprint=Footprint(radius=0.5, height=1.0))}
    )
    assert [asset.uid for asset in scored.select("mesh", "all")] == ["mine/a.glb"]


def test_bad_files_become_problems_with_reasons(tmp_path):
    (tmp_path / "empty.obj").touch()
    (tmp_path / "liar.glb").write_bytes(b"<html>not found</html>")
    whole = glb(tmp_path / "cut.glb").read_bytes()
    (tmp_path / "cut.glb").write_bytes(whole[:-8])
    (tmp_path / "page.exr").write_bytes(b"<html>")
    hdr(tmp_path / "square.hdr", 512, 512)
    (tmp_path / "square.exr").write_bytes(write_exr({name: np.ones((8, 8), np.float32) for name in "RGB"}))
    short = hdr(tmp_path / "short.hdr", 8, 16)
    short.write_bytes(short.read_bytes()[:-1])
    exr(tmp_path / "night.exr", 0.0)
    image(tmp_path / "torn" / "color.png")
    (tmp_path / "torn" / "roughness.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    image(tmp_path / "mixed" / "brick_color.png", 1)
    image(tmp_path / "mixed" / "wood_rough.png", 2)
    catalogue = folder_catalogue(tmp_path, "mine")
    assert len(catalogue) == 0
    found = reasons(catalogue)
    assert found["empty.obj"] == "empty file"
    assert found["liar.glb"] == "does not start like a GLB file"
    assert found["cut.glb"] == f"cut off: {len(whole) - 8} of {len(whole)} bytes"
    assert found["page.exr"] == "does not start like a EXR file"
    assert "512x512 pixels is not a lat-long image" in found["square.hdr"]
    assert "8x8 pixels is not a lat-long image" in found["square.exr"]
    assert "cut off: 7 of 8 scanlines" in found["short.hdr"]
    assert "no light" in found["night.exr"]
    assert found["torn"].startswith("roughness.png")
    assert found["mixed"] == "maps of several materials in one folder (brick_color.png, wood_rough.png)"


def test_links_are_not_followed_out_of_the_folder(tmp_path):
    outside = glb(tmp_path / "outside" / "secret.glb")
    root = tmp_path / "root"
    glb(root / "own.glb", "own")
    (root / "link.glb").symlink_to(outside)
    (root / "folder").symlink_to(outside.parent)
    (root / "again.glb").symlink_to(root / "own.glb")
    (root / "loop").symlink_to(root)
    catalogue = folder_catalogue(root, "mine")
    assert len(catalogue) == 1
    found = reasons(catalogue)
    assert found["link.glb"] == "a link that leaves the folder is not followed"
    assert found["folder"] == found["loop"] == "a link to a folder is not followed"
    assert found["own.glb"] == "same content as again.glb"


def test_nothing_of_a_folder_stops_a_build(tmp_path, monkeypatch):
    glb(tmp_path / "good.glb")
    for name in (b"caf\xe9.glb", b"caf\xe9/inner.glb"):
        glb(tmp_path / os.fsdecode(name), "odd")
    (tmp_path / "one.glb").symlink_to("two.glb")
    (tmp_path / "two.glb").symlink_to("one.glb")
    (tmp_path / "nowhere.hdr").symlink_to("gone.hdr")
    os.mkfifo(tmp_path / "pipe.obj")
    image(tmp_path / "locked" / "color.png")
    image(tmp_path / "shut" / "inner" / "color.png")
    listed, scanned = Path.iterdir, os.scandir

    def refusing(path):
        if path.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    def blind(path):
        if str(path).endswith("inner"):
            raise PermissionError(13, "Permission denied", str(path))
        return scanned(path)

    monkeypatch.setattr(Path, "iterdir", refusing)
    monkeypatch.setattr(os, "scandir", blind)
    catalogue = folder_catalogue(tmp_path, "mine")
    assert [asset.uid for asset in catalogue.assets] == ["mine/good.glb"]
    said = reasons(catalogue)
    assert said.pop(".").startswith("1 assets have an unknown licence")
    assert said == {
        "caf\\xe9": "its name is not UTF-8; rename it",
        "caf\\xe9.glb": "its name is not UTF-8; rename it",
        "one.glb": "a link that leads nowhere",
        "two.glb": "a link that leads nowhere",
        "nowhere.hdr": "a link that leads nowhere",
        "pipe.obj": "not a regular file",
        "locked": "cannot be read: Permission denied",
        "shut/inner": "cannot be read: Permission denied",
    }
    catalogue.save(tmp_path / "catalogue.parquet")
    assert Catalogue.load(tmp_path / "catalogue.parquet").problems == catalogue.problems


def test_a_folder_whose_own_path_is_not_utf_8_is_refused_in_words(tmp_path):
    root = tmp_path / os.fsdecode(b"caf\xe9")
    glb(root / "a.glb")
    with pytest.raises(SpecError, match="path is not UTF-8"):
        folder_catalogue(root, "mine")


def test_equal_content_is_listed_once_unless_it_has_files_beside_it(tmp_path):
    glb(tmp_path / "a.glb")
    glb(tmp_path / "b.glb")
    for name in ("one", "two"):
        (tmp_path / f"{name}.gltf").write_text("{}")
    catalogue = folder_catalogue(tmp_path, "mine")
    assert [asset.uid for asset in catalogue.assets] == ["mine/a.glb", "mine/one.gltf", "mine/two.gltf"]
    assert reasons(catalogue)["b.glb"] == "same content as a.glb"
    assert len({asset.split for asset in catalogue.assets[1:]}) == 1


def test_a_renamed_copy_stays_in_its_split(tmp_path):
    glb(tmp_path / "one" / "a.glb")
    glb(tmp_path / "two" / "deep" / "other.glb")
    first, second = (folder_catalogue(tmp_path / name, name).assets[0] for name in ("one", "two"))
    assert first.split == second.split == assign_split(first.sha256)


def test_textures_of_a_model_are_no_material_of_their_own(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.gltf").write_text("{}")
    for folder in ("model/textures", "set/textures"):
        for number, name in enumerate(("m_diff_1k.png", "m_rough_1k.png", "m_nor_gl_1k.png")):
            image(tmp_path / folder / name, number)
    catalogue = folder_catalogue(tmp_path, "mine")
    assert [(asset.uid, asset.kind) for asset in catalogue.assets] == [
        ("mine/model/model.gltf", "mesh"),
        ("mine/set", "material"),
    ]


def test_texture_maps_in_exr_are_no_environments(tmp_path):
    image(tmp_path / "set" / "m_diff_1k.png")
    exr(tmp_path / "set" / "m_rough_1k.exr", 0.3)
    exr(tmp_path / "set" / "m_nor_gl_1k.exr", 0.5)
    exr(tmp_path / "lone_disp_1k.exr", 0.7)
    assert [(asset.uid, asset.kind) for asset in folder_catalogue(tmp_path, "mine").assets] == [
        ("mine/set", "material")
    ]


def test_licence_files_help_where_no_rule_does(tmp_path):
    glb(tmp_path / "free" / "a.glb", "a")
    (tmp_path / "free" / "LICENSE.txt").write_text("Released under Creative Commons Zero (CC0).")
    glb(tmp_path / "two" / "b.glb", "b")
    (tmp_path / "two" / "README.md").write_text("CC BY 4.0 for the mesh, CC0 for the textures")
    glb(tmp_path / "none" / "c.glb", "c")
    catalogue = folder_catalogue(tmp_path, "mine")
    assert [asset.licence for asset in catalogue.assets] == ["CC0-1.0", "unknown", "unknown"]
    assert reasons(catalogue)["."].startswith("2 assets have an unknown licence")


def test_the_nearest_sidecar_counts_first_and_bad_ones_are_problems(tmp_path):
    glb(tmp_path / "near" / "a.glb", "a")
    glb(tmp_path / "far" / "b.glb", "b")
    glb(tmp_path / "odd" / "c.glb", "c")
    sidecar(tmp_path, "assets: [{path: '**', licence: MIT}]")
    sidecar(tmp_path / "near", "assets: [{path: '*.glb', licence: CC0-1.0}]")
    sidecar(tmp_path / "far", "assets: [{pth: x}]")
    sidecar(tmp_path / "odd", "assets: [{path: '*', licence: Free}]")
    catalogue = folder_catalogue(tmp_path, "mine")
    licences = {asset.uid: asset.licence for asset in catalogue.assets}
    assert licences == {"mine/near/a.glb": "CC0-1.0", "mine/far/b.glb": "MIT", "mine/odd/c.glb": "unknown"}
    found = reasons(catalogue)
    assert "pth" in found["far/lightloom-assets.yaml"]
    assert found["odd/lightloom-assets.yaml"] == "*: licence 'Free' is not a known SPDX id"


@pytest.mark.parametrize(
    "text", ["[", "assets: 3", "- a", "!!python/object/apply:os.system ['false']", "\0", "a: &a [*a]"]
)
def test_hostile_sidecars_are_problems_too(tmp_path, text):
    glb(tmp_path / "a.glb")
    sidecar(tmp_path, text)
    assert "lightloom-assets.yaml" in reasons(folder_catalogue(tmp_path, "mine"))


@pytest.mark.parametrize(
    ("names", "place"),
    [
        (
            ("venice_sunset_4k", "venice_sunset_1k", "Venice Sunset 16K", "venice_sunset_8k_v2", "venice_sunset"),
            "venice_sunset",
        ),
        (("kloofendal_43d_clear_puresky_2k", "kloofendal_43d_clear_4k"), "kloofendal_43d_clear"),
        (("EveningSkyHDRI012A_4K", "EveningSkyHDRI012B_1K-HDR"), "eveningskyhdri012"),
        (("studio_small_03_1k",), "studio_small_03"),
        (("4k",), "4k"),
    ],
)
def test_a_place_is_named_without_size_and_edition(names, place):
    assert {place_of(name) for name in names} == {place}


def test_environments_of_one_place_share_a_split_with_the_built_in_map(tmp_path):
    for number, name in enumerate(("venice_sunset_4k.exr", "Venice_Sunset_1k.exr")):
        exr(tmp_path / name, number + 1)
    assert {asset.split for asset in folder_catalogue(tmp_path, "mine").assets} == {assign_split("venice_sunset")}


def test_licence_words_are_recognised():
    assert licences_in("see https://creativecommons.org/licenses/by-nc-sa/4.0/") == {"CC-BY-NC-SA-4.0"}
    assert licences_in("CC-BY-SA 3.0") == {"CC-BY-SA-3.0"}
    assert licences_in("https://creativecommons.org/publicdomain/zero/1.0/") == {"CC0-1.0"}
    assert licences_in("All rights reserved") == set()


def test_names_and_folders_are_checked(tmp_path):
    with pytest.raises(SpecError, match="is not a folder"):
        folder_catalogue(tmp_path / "none", "mine")
    for name in ("builtin", "", "a/b"):
        with pytest.raises(SpecError, match="choose another"):
            folder_catalogue(tmp_path, name)


@pytest.mark.assets
def test_fetched_packages_are_listed_with_their_licences():
    root = Path(os.environ["LIGHTLOOM_ASSETS"])
    catalogue = folder_catalogue(root / "textures", "textures")
    assert [(asset.kind, asset.licence, asset.author) for asset in catalogue.assets] == [
        ("material", "CC0-1.0", "ambientCG")
    ] * 8
    assert catalogue.problems == ()
    furniture = folder_catalogue(root / "furniture", "furniture")
    assert len(furniture) == 175
    assert {asset.licence for asset in furniture.assets} == {"CC0-1.0"}
    assert {asset.licence for asset in folder_catalogue(root / "webxr", "webxr").assets} == {"MIT"}
    assert "invalid/empty.obj" in reasons(folder_catalogue(root / "assimp", "assimp"))
