from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import msgspec
import numpy as np
import pytest

from manifests.errors import SpecError
from scenes.builtin_materials import builtin_materials, measured_materials, sample_constant, sample_procedural
from scenes.procedural_materials import MATERIAL_FAMILIES
from scenes.spec import Procedural
from scenes.texturesets import find_maps, role

METAL_WORDS = ("metal", "bare", "flake", "third", "vein", "weft", "first", "second", "coat")


def test_there_are_thousands_of_materials_and_no_two_alike() -> None:
    entries = builtin_materials()
    procedural = [entry.material for entry in entries if isinstance(entry.material, Procedural)]
    assert len(procedural) >= 3000
    assert len({entry.uid for entry in entries}) == len(entries)
    assert len({msgspec.json.encode(material.params) for material in procedural}) == len(procedural)


def test_the_list_is_reproducible_and_longer_lists_begin_like_shorter_ones() -> None:
    short, long = builtin_materials(per_family=2, constants=3), builtin_materials(per_family=4, constants=3)
    assert builtin_materials(per_family=2, constants=3) == short
    by_uid = {entry.uid: entry for entry in long}
    assert all(by_uid[entry.uid] == entry for entry in short)


def test_colours_are_reflectances_of_dielectrics_or_metals() -> None:
    for entry in builtin_materials(per_family=60, constants=0):
        if not isinstance(entry.material, Procedural):
            continue
        for name, value in entry.material.params.items():
            if not isinstance(value, tuple) or name == "offset":
                continue
            assert len(value) == 3
            assert 0.02 <= min(value) <= max(value) <= 1.0, (entry.uid, name, value)
            if name not in METAL_WORDS:
                assert max(value) <= 0.9, (entry.uid, name, value)


def test_roughnesses_stay_in_range_and_a_good_part_is_glossy() -> None:
    values = [
        value
        for entry in builtin_materials(per_family=60, constants=0)
        if isinstance(entry.material, Procedural)
        for name, value in entry.material.params.items()
        if name.endswith("roughness") and isinstance(value, float)
    ]
    assert 0.0 <= min(values) <= max(values) <= 1.0
    assert 0.2 < np.mean(np.array(values) < 0.3) < 0.6


def test_a_family_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"no material family 'velvet'; there are wood"):
        sample_procedural("velvet", np.random.default_rng(0), "x")


def test_constants_are_metals_or_dielectrics() -> None:
    constants = [sample_constant(np.random.default_rng(seed), str(seed)) for seed in range(300)]
    share = np.mean([constant.metallic for constant in constants])
    assert 0.25 < share < 0.42
    assert all(constant.metallic in (0.0, 1.0) for constant in constants)
    assert all(max(constant.basecolor) >= 0.5 for constant in constants if constant.metallic)


def test_looks_of_every_family_differ_from_seed_to_seed() -> None:
    for family in MATERIAL_FAMILIES:
        first, second = (sample_procedural(family, np.random.default_rng(seed), "x") for seed in (1, 2))
        assert first.params.keys() == second.params.keys()
        assert first.params != second.params


def test_the_measured_constants_are_the_published_ones() -> None:
    measured = {entry.name: entry for entry in measured_materials()}
    assert len(measured) == 110
    source = json.loads(resources.files("scenes").joinpath("data/measured_materials.json").read_bytes())["source"]
    assert source["licence"] == "CC0-1.0"
    copper = measured["Copper"].material()
    assert (copper.basecolor, copper.metallic, copper.roughness) == ((0.932, 0.623, 0.522), 1.0, 0.0)
    water = measured["Water"].material()
    assert (water.ior, water.transmission) == (1.3325, 1.0)
    assert measured["Gold"].material().basecolor == (1.0, 0.773, 0.307), "1.059 is clipped to a reflectance"


def test_the_measured_list_in_the_catalogue_leaves_out_what_cannot_be_seen() -> None:
    entries = builtin_materials(per_family=0, constants=0)
    assert len(entries) == 109
    clear = [entry for entry in entries if "transmission" in entry.flags]
    assert len(clear) == 32
    assert all(entry.roles == ("object", "primitive") for entry in clear)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Bricks075A_1K-JPG_Color.jpg", "basecolor"),
        ("Bricks075A_1K-JPG_NormalGL.jpg", "normal"),
        ("Bricks075A_1K-JPG_NormalDX.jpg", "normal_dx"),
        ("Bricks075A_1K-JPG_Roughness.jpg", "roughness"),
        ("Metal032_2K-PNG_Metalness.png", "metallic"),
        ("Bricks075A_1K-JPG_AmbientOcclusion.jpg", None),
        ("Bricks075A_1K-JPG_Displacement.jpg", "height"),
        ("Bricks075A.png", None),
        ("metal_plate_diff_1k.jpg", "basecolor"),
        ("metal_plate_nor_gl_4k.exr", "normal"),
        ("metal_plate_nor_dx_4k.png", "normal_dx"),
        ("metal_plate_rough_1k.jpg", "roughness"),
        ("metal_plate_metal_1k.jpg", "metallic"),
        ("metal_plate_arm_1k.jpg", "packed"),
        ("color.png", "basecolor"),
        ("normal.png", "normal"),
        ("T_Wall_BaseColor.tga", "basecolor"),
        ("wall_metallicRoughness.png", "packed"),
        ("wall-glossiness.tif", "gloss"),
        ("wall_opacity.png", "opacity"),
        ("Leather.png", None),
        ("wall_gl.png", None),
        ("color.txt", None),
    ],
)
def test_a_map_is_known_by_the_last_word_of_its_name(name: str, expected: str | None) -> None:
    assert role(name) == expected


def test_maps_are_found_in_the_folder_or_in_its_textures_folder(tmp_path: Path) -> None:
    inner = tmp_path / "textures"
    inner.mkdir()
    for name in ("wall_diff_1k.jpg", "wall_arm_1k.jpg", "wall_nor_gl_1k.jpg"):
        (inner / name).touch()
    (tmp_path / "license.txt").touch()
    maps = find_maps(tmp_path)
    assert (maps.basecolor, maps.packed) == (inner / "wall_diff_1k.jpg", inner / "wall_arm_1k.jpg")
    assert maps.usable
    assert not find_maps(tmp_path / "nowhere").usable


def test_every_parameter_survives_json() -> None:
    material = sample_procedural("tiles", np.random.default_rng(5), "x")
    again = msgspec.json.decode(msgspec.json.encode(material), type=Procedural)
    assert again == material
    assert json.loads(msgspec.json.encode(material))["family"] == "tiles"
