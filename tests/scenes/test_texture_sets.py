"""Unzipped folders as texture sites lay them out, by their file names, and what they resolve to."""

from __future__ import annotations

import struct
from pathlib import Path

import pyarrow as pa
import pytest

from scenes.providers.file_checks import is_only_material
from scenes.providers.folder import folder_catalogue
from scenes.texturesets import find_maps, is_map
from tests.scenes.assetfiles import exr, glb, image

AMBIENT_CG = (
    "ID_1K-JPG_Color.jpg=basecolor ID_1K-JPG_Roughness.jpg=roughness ID_1K-JPG_NormalGL.jpg=normal "
    "ID_1K-JPG_NormalDX.jpg=normal_dx ID_1K-JPG_Displacement.jpg=height ID_1K-JPG_AmbientOcclusion.jpg "
    "ID_1K-JPG.blend ID_1K-JPG.mtlx ID_1K-JPG.tres ID.png"
)
POLY_HAVEN = (
    "textures/ID_diff_2k.jpg=basecolor textures/ID_rough_2k.exr=roughness textures/ID_nor_gl_2k.exr=normal "
    "textures/ID_nor_dx_2k.png=normal_dx textures/ID_disp_2k.png=height textures/ID_arm_2k.jpg=packed "
    "textures/ID_ao_2k.jpg textures/ID_spec_2k.png ID_2k.blend ID_2k.mtlx ID.png"
)
CGBOOKCASE = (
    "ID_2K_BaseColor.png=basecolor ID_2K_Roughness.png=roughness ID_2K_Normal.png=normal ID_2K_Height.png=height "
    "ID_2K_AO.png ID_Preview.jpg"
)
CGBOOKCASE_OLD = (
    "ID_4K_Base_Color.jpg=basecolor ID_4K_Roughness.jpg=roughness ID_4K_Normal.jpg=normal "
    "ID_4K_Ambient_Occlusion.jpg ID_4K_Height.jpg=height"
)
TEXTURES_3D = (
    "ID_basecolor.jpg=basecolor ID_roughness.jpg=roughness ID_normal.jpg=normal ID_height.png=height "
    "ID_metallic.jpg=metallic ID_ambientOcclusion.jpg Material_1907.png ID.sbsar"
)
TEXTURES_3D_OLD = (
    "ID_COLOR.jpg=basecolor ID_ROUGH.jpg=roughness ID_NORM.jpg=normal ID_DISP.png=height ID_OCC.jpg "
    "ID_MASK.jpg Material_882.jpg"
)
SHARE_TEXTURES = (
    "ID_basecolor-1K.png=basecolor ID_roughness-1K.png=roughness ID_normal-1K.png=normal ID_height-1K.png=height "
    "ID_metallic-1K.png=metallic ID_opacity-1K.png=opacity ID_ambientocclusion-1K.png ID.jpg"
)
LAYOUTS = {
    "ambientCG": (AMBIENT_CG, "Bricks075A Metal032 MetalPlates006 PaintedMetal004 Wood095 Rough001 Metal07"),
    "Poly Haven": (POLY_HAVEN, "rough_plaster Wood_Rough_01 metal_plate brick_wall_001 color_tiles rough_metal normal"),
    "cgbookcase": (CGBOOKCASE, "Bricks01 RustyMetal02 RustyMetal"),
    "cgbookcase, old": (CGBOOKCASE_OLD, "Wood_Planks_12 Metal Painted_Metal Rough_Base"),
    "3dtextures": (TEXTURES_3D, "Stone_Wall_013 Metal_Grill_024 Painted_Metal Rough_Metal_002 Sci-fi_Metal"),
    "3dtextures, old": (TEXTURES_3D_OLD, "Wood_Floor_007 Metal_Rough_001 Rock_Rough"),
    "ShareTextures": (SHARE_TEXTURES, "wood_8 metal_12 painted-metal_3 bump_16 opacity_1"),
}
SETS = [
    *((site, names.replace("ID", name)) for site, (names, ids) in LAYOUTS.items() for name in ids.split()),
    ("ambientCG of before", "Metal07_col.jpg=basecolor Metal07_rgh.jpg=roughness Metal07_nrm.jpg=normal "
     "Metal07_met.jpg=metallic Metal07_disp.jpg=height Metal07.jpg"),
    ("ambientCG, metal", "Metal032_1K-PNG_Color.png=basecolor Metal032_1K-PNG_Metalness.png=metallic "
     "Metal032_1K-PNG_Roughness.png=roughness Metal032.png Metal032_PREVIEW.jpg"),
    ("ambientCG, two sizes", "Wood1_1K_Color.jpg=basecolor Wood1_2K_Color.jpg Wood1_1K_Roughness.jpg=roughness "
     "Wood1_2K_Roughness.jpg"),
    ("two formats", "Wood1_Color.jpg=basecolor Wood1_Color.png Wood1_Roughness.png=roughness"),
    ("Poly Haven, one of its colours", "textures/fabric_05_col_01_1k.png=basecolor "
     "textures/fabric_05_arm_1k.png=packed"),
    ("Poly Haven, glued", "textures/fabric_05_col1_1k.png=basecolor textures/fabric_05_rough_1k.png=roughness"),
    ("Poly Haven, preview with maps below", "rough_metal.png textures/rough_metal_diff_1k.jpg=basecolor "
     "textures/rough_metal_arm_1k.jpg=packed"),
    ("maps below in another case", "Textures/T_Wall_BaseColor.tga=basecolor Textures/T_Wall_ORM.tga=packed"),
    ("Poliigon", "Wood044_COL_1K.jpg=basecolor Wood044_GLOSS_1K.jpg=gloss Wood044_NRM16_1K.tif=normal "
     "Wood044_REFL_1K.jpg Wood044_DISP16_1K.tif=height"),
    ("freepbr", "rusty-metal_albedo.png=basecolor rusty-metal_roughness.png=roughness "
     "rusty-metal_metallic.png=metallic rusty-metal_normal-ogl.png=normal rusty-metal_ao.png rusty-metal_preview.jpg"),
    ("glTF", "wall_baseColor.png=basecolor wall_metallicRoughness.png=packed wall_normal.png=normal "
     "wall_occlusion.png"),
    ("a metal, and metalness with roughness", "Metal_BaseColor.png=basecolor Metal_Metallic_Roughness.png=packed"),
    ("ShareTextures of before, gloss", "2K-tile_30-diffuse.jpg=basecolor 2K-tile_30-gloss.jpg=gloss "
     "2K-tile_30-normal.jpg=normal 2K-tile_30-specular.jpg 2K-tile_30-ao.jpg"),
    ("plain", "color.png=basecolor roughness.png=roughness metal.png=metallic normal_dx.png=normal_dx Leather.png"),
    ("plain beside named", "wood_color.png=basecolor wood_rough.png=roughness normal.png=normal"),
    ("a Blender texture whose name is a role", "metal_color.jpg=basecolor metal_roughness.jpg=roughness metal.jpg"),
    ("one UDIM tile", "chair_BaseColor.1001.png=basecolor chair_Roughness.1001.png=roughness"),
]  # fmt: skip


def _folder(root: Path, names: str) -> dict[str, str]:
    """Make the files; what each map should be."""
    wanted = {}
    for word in names.split():
        name, _, role = word.partition("=")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if role:
            wanted[role] = name
    return wanted


@pytest.mark.parametrize(("site", "names"), SETS)
def test_maps_of_sites_are_resolved(tmp_path: Path, site: str, names: str) -> None:
    wanted = _folder(tmp_path, names)
    maps = find_maps(tmp_path)
    found = {role: path.relative_to(tmp_path).as_posix() for role, path in maps.files.items()}
    assert (found, maps.problem, maps.usable) == (wanted, "", True), site


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ("wood_color.png wood_rough.png wall_color.png wall_rough.png", "several materials"),
        ("wood_floor_diff.png wood_floor_rough.png wood_wall_rough.png", "several materials"),
        ("color.png roughness.png Rusty_Metal.png", "several materials in one folder (color.png, Rusty_Metal.png)"),
        ("fabric_col_01.png fabric_col_02.png fabric_rough.png", "several base colour maps (fabric_col_01.png,"),
        ("wood_albedo.png wood_diffuse.png wood_rough.png", "several base colour maps"),
        ("wood_color.png wood_rough.png rough.png", "several roughness maps"),
        ("c_BaseColor.1001.png c_BaseColor.1002.png c_Roughness.1001.png", "several base colour maps"),
        ("2K-tile_30-diffuse.jpg 2K-tile_30-normal.jpg 2K-tile_30-specular.jpg", "maps without roughness"),
        ("wood_rough_1k.png wood_nor_gl_1k.png wood_disp_1k.png", "maps without a base colour"),
        ("textures/wood_diff_1k.png textures/wood_nor_gl_1k.png", "maps without roughness"),
    ],
)  # fmt: skip
def test_what_is_ambiguous_or_half_a_material_is_said(tmp_path: Path, names: str, problem: str) -> None:
    _folder(tmp_path, names)
    maps = find_maps(tmp_path)
    assert not maps.usable
    assert problem in maps.problem
    assert "\n" not in maps.problem


@pytest.mark.parametrize("names", ["Metal032.png", "color.png", "Wood_Rough_01.png Leather.jpg", "photo.jpg", "a.txt"])
def test_other_pictures_are_no_material_and_no_problem(tmp_path: Path, names: str) -> None:
    _folder(tmp_path, names)
    maps = find_maps(tmp_path)
    assert not maps.usable
    assert maps.problem == ""


def test_a_link_out_of_the_folder_is_no_map(tmp_path: Path) -> None:
    _folder(tmp_path / "set", "a_color.png a_rough.png")
    (tmp_path / "secret.png").touch()
    (tmp_path / "set" / "a_metal.png").symlink_to(tmp_path / "secret.png")
    assert find_maps(tmp_path / "set").files.keys() == {"basecolor", "roughness"}


def _crate(path: Path, *words: bytes) -> Path:
    """A binary USD layer that has nothing but its table of words."""
    text = b"\0".join(words) + b"\0"
    packed = b"\0" + pa.Codec("lz4_raw").compress(text).to_pybytes()
    table = struct.pack("<QQQ", len(words), len(text), len(packed)) + packed
    contents = struct.pack("<Q16sqq", 1, b"TOKENS", 88, len(table))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"PXR-USDC" + bytes([0, 8, 0, 0, 0, 0, 0, 0]) + struct.pack("<q", 88 + len(table)) + bytes(64)
                     + table + contents)  # fmt: skip
    return path


_SHADER = b'#usda 1.0\ndef Material "M"\n{\n    def Shader "S"\n    {\n    }\n}\n'


def test_a_usd_file_of_a_material_alone_is_known(tmp_path: Path) -> None:
    assert is_only_material(_crate(tmp_path / "a.usdc", b"Material", b"Shader", b"Mesh_032"))
    assert not is_only_material(_crate(tmp_path / "b.usdc", b"Material", b"Shader", b"Mesh"))
    assert not is_only_material(_crate(tmp_path / "c.usdc", b"Material", b"references"))
    texts = {"d": (_SHADER, True), "e": (_SHADER + b'def Mesh "X"\n{\n}\n', False), "f": (b"#usda 1.0\n", False)}
    for name, (text, alone) in texts.items():
        (tmp_path / f"{name}.usda").write_bytes(text)
        assert is_only_material(tmp_path / f"{name}.usda") is alone
    for size in (0, 8, 20, 90, 120):
        (tmp_path / "cut.usdc").write_bytes((tmp_path / "a.usdc").read_bytes()[:size])
        assert not is_only_material(tmp_path / "cut.usdc")
    assert not is_only_material(tmp_path / "none.usdc")
    assert not is_only_material(glb(tmp_path / "g.glb"))


def test_unzipped_sites_become_materials_whatever_lies_beside_the_maps(tmp_path: Path) -> None:
    for number, kind in enumerate(("usdc", "usda")):
        for name in ("Color", "Roughness", "Metalness"):
            image(tmp_path / kind / f"Metal032_1K-JPG_{name}.png", 3 * number + len(name))
        image(tmp_path / kind / "Metal032.png", 9)
    _crate(tmp_path / "usdc" / "Metal032_1K-JPG.usdc", b"Material", b"Shader")
    (tmp_path / "usda" / "Metal032_1K-JPG.usda").write_bytes(_SHADER)
    for number, name in enumerate(("diff", "arm")):
        image(tmp_path / "haven" / "textures" / f"metal_{name}_1k.png", 20 + number)
    exr(tmp_path / "haven" / "textures" / "metal_ao_1k.exr")
    _crate(tmp_path / "haven" / "metal_1k.usdc", b"Material", b"Shader")
    _crate(tmp_path / "model" / "metal_1k.usdc", b"Material", b"Mesh")
    image(tmp_path / "model" / "textures" / "metal_diff_1k.png", 30)
    image(tmp_path / "model" / "textures" / "metal_rough_1k.png", 31)
    _crate(tmp_path / "bare" / "x.usdc", b"Material", b"Shader")
    image(tmp_path / "several" / "wood_color.png", 40)
    image(tmp_path / "several" / "wall_rough.png", 41)
    catalogue = folder_catalogue(tmp_path, "mine")
    assert [(asset.uid, asset.kind) for asset in catalogue.assets] == [
        ("mine/haven", "material"),
        ("mine/model/metal_1k.usdc", "mesh"),
        ("mine/usda", "material"),
        ("mine/usdc", "material"),
    ]
    said = {problem.path: problem.reason for problem in catalogue.problems}
    assert said.pop(".").startswith("4 assets have an unknown licence")
    assert said == {
        "bare/x.usdc": "holds a material and no geometry",
        "several": "maps of several materials in one folder (wood_color.png, wall_rough.png)",
    }


def test_maps_that_are_not_used_are_known_as_maps() -> None:
    assert is_map("rough_plaster_ao_1k.exr")
    assert is_map("rough_plaster_spec_1k.exr")
    assert not is_map("old_hall_4k.exr")
    assert not is_map("studio_metal_03_1k.exr")
