from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datagen.assets.asset_file import AssetError
from datagen.assets.gltf import Gltf
from datagen.assets.inspection import inspect
from datagen.assets.specgloss import convert, metallic_roughness
from tests.datagen.meshfiles import GltfFile, flat_png, png

NAME = "KHR_materials_pbrSpecularGlossiness"


@pytest.mark.parametrize(("base", "metallic"), [((0.6, 0.3, 0.1), 0.0), ((0.9, 0.7, 0.3), 1.0), ((0.5, 0.5, 0.5), 0.0)])
def test_conversion_inverts_what_metallic_roughness_would_look_like(base: tuple[float, ...], metallic: float) -> None:
    colour = np.array(base)
    diffuse = colour * (1 - metallic) * (1 - 0.04)
    specular = 0.04 * (1 - metallic) + colour * metallic
    found_base, found_metallic = metallic_roughness(
        diffuse / (1 - specular.max()) if not metallic else diffuse, specular
    )
    assert found_metallic == pytest.approx(metallic, abs=0.02)
    np.testing.assert_allclose(found_base, colour, atol=0.02)


def spec_gloss(gloss: dict, file: GltfFile | None = None) -> GltfFile:
    file = file or GltfFile()
    file.document["materials"] = [{"name": "paint", "extensions": {NAME: gloss}}]
    file.document |= {"extensionsUsed": [NAME], "extensionsRequired": [NAME]}
    return file


def test_factors_are_converted(tmp_path: Path) -> None:
    gloss = {"diffuseFactor": [0.5, 0.25, 0.1, 1], "specularFactor": [0.04, 0.04, 0.04], "glossinessFactor": 0.7}
    source = Gltf.read(spec_gloss(gloss).glb(tmp_path / "box.glb"))
    assert source.inspection().spec_gloss is True
    converted = Gltf.read(convert(source, tmp_path))
    assert converted.inspection().spec_gloss is False
    assert converted.document.extensions_required == []
    pbr = converted.document.materials[0].pbr_metallic_roughness
    assert pbr is not None
    assert pbr.metallic_factor == 0.0
    assert pbr.roughness_factor == pytest.approx(0.3)


def test_textures_are_converted_and_everything_else_survives(tmp_path: Path) -> None:
    file = GltfFile()
    diffuse = file.texture(flat_png((188, 188, 188, 255), 4))
    gloss_pixels = np.zeros((8, 8, 4))
    gloss_pixels[..., :3] = 56  # sRGB of 0.04
    gloss_pixels[..., 3] = np.arange(64).reshape(8, 8)
    gloss = {"diffuseTexture": diffuse, "specularGlossinessTexture": file.texture(png(gloss_pixels))}
    path = spec_gloss(gloss, file).gltf(tmp_path / "box.gltf")
    (tmp_path / "box.bin").write_bytes(file.binary)
    converted = Gltf.read(convert(Gltf.read(path), tmp_path))
    found = converted.inspection(decode=True)
    assert (found.textured, found.constant_specular, found.spec_gloss) == (True, False, False)
    assert bytes(converted.buffer(0))[: len(file.binary)] == bytes(file.binary)


def test_two_mappings_in_a_material_are_refused(tmp_path: Path) -> None:
    file = GltfFile()
    gloss = {
        "diffuseTexture": file.texture(flat_png((9, 9, 9))),
        "specularGlossinessTexture": file.texture(flat_png((9, 9, 9, 9))) | {"texCoord": 1},
    }
    with pytest.raises(AssetError) as caught:
        convert(Gltf.read(spec_gloss(gloss, file).glb(tmp_path / "box.glb")), tmp_path)
    assert caught.value.reason == "unsupported-format"


def test_a_spec_gloss_file_is_flagged(tmp_path: Path) -> None:
    assert "spec-gloss" in inspect(spec_gloss({}).glb(tmp_path / "box.glb")).flags
