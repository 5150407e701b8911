"""Built materials, rendered: every family varies where it should, sizes hold, texture maps keep their values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from PIL import Image

from datagen.blender.graphs import GRAPHS
from datagen.blender.material_aovs import instrument
from datagen.blender.material_nodes import build_material
from datagen.resolver import Resolver
from manifests.contract.color import srgb_decode
from manifests.errors import RenderError, SpecError
from scenes.builtin_materials import builtin_materials, measured_materials, sample_procedural
from scenes.procedural_materials import MATERIAL_FAMILIES
from scenes.spec import Native, Principled, Procedural, TextureSet
from tests.datagen.harness import Picture, Stage, on_stage

pytestmark = pytest.mark.usefixtures("cpu")
EXACT = 1 / 255


def instrumented(material: Any, resolver: Resolver) -> Any:
    built = build_material(material, resolver)
    assert instrument(built).status == "resolved"
    return built


def patch(material: Any, resolver: Resolver, workdir: Path, extent: float = 2.0) -> Picture:
    """A plane of `extent` scene units, seen from above, 48 x 48 pixels."""

    def act(stage: Stage) -> None:
        stage.plane(0.0, instrumented(material, resolver), size=extent)

    return on_stage(workdir, act, width=48, height=48, pixels_per_unit=48 / extent, samples=4)


def test_every_family_has_a_graph() -> None:
    assert GRAPHS.keys() == MATERIAL_FAMILIES.keys()


@pytest.mark.parametrize("family", MATERIAL_FAMILIES)
def test_a_family_varies_in_colour_roughness_and_normal(family: str, resolver: Resolver, tmp_path: Path) -> None:
    spread = {"basecolor": 0.0, "roughness": 0.0, "normal": 0.0, "metallic": 0.0}
    for seed in range(4):
        material = sample_procedural(family, np.random.default_rng(seed), family)
        passes = patch(material, resolver, tmp_path, extent=4 * material.size).passes
        inside = {name: passes[name][4:-4, 4:-4].reshape(1600, -1) for name in (*spread, "mask")}
        np.testing.assert_allclose(inside["mask"], 1.0, atol=1e-5)
        assert np.isfinite(inside["basecolor"]).all()
        dielectric = inside["metallic"][:, 0] == 0
        assert inside["basecolor"].min() >= 0.02 - 1e-5
        assert inside["basecolor"][dielectric].max(initial=0.0) <= 0.9 + 1e-5
        assert 0.0 <= inside["roughness"].min() <= inside["roughness"].max() <= 1.0
        spread = {name: max(known, float(inside[name].std(0).max())) for name, known in spread.items()}
    assert spread["basecolor"] > 0.01
    assert spread["roughness"] > 0.01
    assert spread["normal"] > 0.005
    if family in {"rust", "pattern", "scratched", "hammered", "terrazzo", "flakes"}:
        assert spread["metallic"] > 0.05


@pytest.mark.parametrize("family", MATERIAL_FAMILIES)
def test_fifty_looks_of_a_family_build(family: str, resolver: Resolver) -> None:
    for seed in range(50):
        built = build_material(sample_procedural(family, np.random.default_rng(seed), family), resolver)
        assert len(built.node_tree.nodes) < 110
        bpy.data.materials.remove(built)


def test_a_pattern_keeps_its_size_when_its_object_is_scaled(resolver: Resolver, tmp_path: Path) -> None:
    """A unit plane scaled by 2 shows the same as a plane of side 2; a parent's scale counts too."""
    material = sample_procedural("rust", np.random.default_rng(1), "rust")

    def render(scaled: bool) -> Picture:
        def act(stage: Stage) -> None:
            plane = stage.plane(0.0, instrumented(material, resolver), size=0.5 if scaled else 2.0)
            if scaled:
                parent = stage.add(bpy.data.objects.new("parent", None))
                plane.parent = parent
                plane.scale, parent.scale = (2.0,) * 3, (2.0,) * 3

        return on_stage(tmp_path, act, width=32, height=32, pixels_per_unit=16.0, samples=1)

    one, other = render(scaled=False), render(scaled=True)
    for name in ("basecolor", "roughness", "metallic", "normal"):
        difference = np.abs(one.passes[name] - other.passes[name])[2:-2, 2:-2]
        assert np.quantile(difference, 0.98) < 0.01, name


def test_a_pattern_moves_with_its_object(resolver: Resolver, tmp_path: Path) -> None:
    material = sample_procedural("tiles", np.random.default_rng(4), "tiles")

    def render(shift: float) -> Picture:
        def act(stage: Stage) -> None:
            stage.plane(shift, instrumented(material, resolver), size=1.0)

        return on_stage(tmp_path, act, width=32, height=32, pixels_per_unit=16.0, samples=1)

    still, moved = render(0.0).passes["basecolor"], render(0.25).passes["basecolor"]
    np.testing.assert_allclose(np.roll(still, 4, axis=1)[10:22, 14:26], moved[10:22, 14:26], atol=0.02)


def test_constants_and_measured_constants_arrive_exactly(resolver: Resolver, tmp_path: Path) -> None:
    entries = {entry.name: entry.material() for entry in measured_materials()}
    shown = [
        Principled(uid="own", basecolor=(0.1, 0.5, 0.9), roughness=0.35, metallic=0.25, coat=0.5),
        entries["Copper"],
        entries["Brick"],
    ]

    def act(stage: Stage) -> None:
        for number, material in enumerate(shown):
            stage.plane(number - 1.0, instrumented(material, resolver))

    picture = on_stage(tmp_path, act)
    for number, material in enumerate(shown):
        column = 20 + 8 * (number - 1)
        np.testing.assert_allclose(picture.at("basecolor", column), material.basecolor, atol=EXACT)
        np.testing.assert_allclose(picture.at("roughness", column), material.roughness, atol=EXACT)
        np.testing.assert_allclose(picture.at("metallic", column), material.metallic, atol=EXACT)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A texture set of two halves, left and right, tiled once a unit."""
    place = tmp_path / "sets" / "wall"
    place.mkdir(parents=True)
    halves = {
        "wall_diff_1k.png": ((200, 100, 50), (20, 40, 60)),
        "wall_rough_1k.png": ((51, 51, 51), (204, 204, 204)),
        "wall_metal_1k.png": ((255, 255, 255), (0, 0, 0)),
    }
    for name, (left, right) in halves.items():
        texels = np.empty((8, 8, 3), np.uint8)
        texels[:, :4], texels[:, 4:] = left, right
        Image.fromarray(texels).save(place / name)
    yield place


def _tilted(place: Path, name: str, green: int) -> None:
    texels = np.full((8, 8, 3), (178, green, 230), np.uint8)
    Image.fromarray(texels).save(place / name)


def _textures(folder: Path, **changes: Any) -> tuple[TextureSet, Resolver]:
    values = {"uid": "wall", "provider": "sets", "path": "wall", "sha256": "", "size": 1.0} | changes
    return TextureSet(**values), Resolver({"sets": folder.parent}, folder.parent.parent / "cache")


def test_texture_maps_keep_their_values(folder: Path, tmp_path: Path) -> None:
    material, resolver = _textures(folder)
    passes = patch(material, resolver, tmp_path, extent=2.0).passes  # 24 pixels a tile, its origin at the centre
    for column, encoded, roughness, metallic in (
        (30, (200, 100, 50), 0.2, 1.0),
        (42, (20, 40, 60), 0.8, 0.0),
        (6, (200, 100, 50), 0.2, 1.0),
    ):
        np.testing.assert_allclose(passes["basecolor"][20, column], srgb_decode(np.array(encoded) / 255), atol=EXACT)
        np.testing.assert_allclose(passes["roughness"][20, column], roughness, atol=EXACT)
        np.testing.assert_allclose(passes["metallic"][20, column], metallic, atol=EXACT)


@pytest.mark.parametrize(("name", "green", "up"), [("nor_gl", 204, 0.6), ("nor_dx", 204, -0.6)])
def test_normal_maps_tilt_the_way_their_kind_says(
    name: str, green: int, up: float, folder: Path, tmp_path: Path
) -> None:
    _tilted(folder, f"wall_{name}_1k.png", green)
    material, resolver = _textures(folder)
    passes = patch(material, resolver, tmp_path).passes
    expected = np.array((178 / 127.5 - 1, up, 230 / 127.5 - 1))
    np.testing.assert_allclose(passes["normal"][20, 30], expected / np.linalg.norm(expected), atol=0.01)


def test_a_packed_map_gives_roughness_and_metalness(folder: Path, tmp_path: Path) -> None:
    for name in ("wall_rough_1k.png", "wall_metal_1k.png"):
        (folder / name).unlink()
    Image.fromarray(np.full((4, 4, 3), (255, 102, 51), np.uint8)).save(folder / "wall_arm_1k.png")
    material, resolver = _textures(folder)
    passes = patch(material, resolver, tmp_path).passes
    np.testing.assert_allclose(passes["roughness"][20, 30], 0.4, atol=EXACT)
    np.testing.assert_allclose(passes["metallic"][20, 30], 0.2, atol=EXACT)


def test_a_folder_without_maps_and_a_broken_image_are_refused(folder: Path) -> None:
    material, resolver = _textures(folder)
    (folder / "wall_rough_1k.png").write_bytes(b"\x89PNG\r\n not an image")
    with pytest.raises(RenderError) as broken:
        build_material(material, resolver)
    assert broken.value.reason == "bad-image"
    assert "wall_rough_1k.png" in str(broken.value)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(RenderError) as bare:
        build_material(material, resolver)
    assert bare.value.reason == "missing-texture"


def test_unknown_families_parameters_and_native_materials_are_refused(resolver: Resolver) -> None:
    with pytest.raises(SpecError, match="no material family 'velvet'"):
        build_material(Procedural(uid="x", family="velvet", size=1.0), resolver)
    with pytest.raises(SpecError, match="'wood' needs the parameter 'offset'"):
        build_material(Procedural(uid="x", family="wood", size=1.0), resolver)
    with pytest.raises(SpecError, match="come with their mesh"):
        build_material(Native(), resolver)


def test_the_first_listed_looks_are_resolved(resolver: Resolver) -> None:
    for entry in builtin_materials(per_family=1, constants=1):
        use = instrument(build_material(entry.material, resolver))
        assert use.status == ("approximated" if "transmission" in entry.flags else "resolved"), entry.uid
