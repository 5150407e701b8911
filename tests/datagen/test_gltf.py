from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datagen.assets.asset_file import AssetError, AssetLimits
from datagen.assets.inspection import inspect
from tests.datagen.meshfiles import GltfFile, flat_png, glb_bytes, huge_png_header, noise_png, png


def rejection(path: Path, **options: Any) -> str:
    with pytest.raises(AssetError) as caught:
        inspect(path, **options)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def test_a_plain_box_is_untextured_and_constant(tmp_path: Path) -> None:
    found = inspect(GltfFile().glb(tmp_path / "box.glb"))
    assert found.flags == ("untextured", "constant-specular")


def textured(specular: bytes, roughness: float = 1.0, metallic: float = 1.0) -> GltfFile:
    file = GltfFile()
    file.document["materials"][0] = {
        "pbrMetallicRoughness": {
            "baseColorTexture": file.texture(noise_png()),
            "metallicRoughnessTexture": file.texture(specular),
            "roughnessFactor": roughness,
            "metallicFactor": metallic,
        }
    }
    return file


@pytest.mark.parametrize(
    ("specular", "roughness", "metallic", "constant"),
    [
        (flat_png((0, 120, 200)), 1.0, 1.0, True),
        (png(np.full((64, 64, 3), 120) + np.random.default_rng(0).integers(-2, 3, (64, 64, 3))), 1.0, 1.0, True),
        (noise_png(), 1.0, 1.0, False),
        (noise_png(), 0.0, 0.0, True),
        (png(np.dstack([np.full((8, 8), 9), np.full((8, 8), 9), np.arange(64).reshape(8, 8)])), 1.0, 1.0, False),
        (png(np.dstack([np.full((8, 8), 9), np.full((8, 8), 9), np.arange(64).reshape(8, 8)])), 1.0, 0.0, True),
    ],
)
def test_constant_specular_looks_at_the_pixels_that_count(
    tmp_path: Path, specular: bytes, roughness: float, metallic: float, constant: bool
) -> None:
    found = inspect(textured(specular, roughness, metallic).glb(tmp_path / "box.glb"), decode=True)
    assert found.textured is True
    assert found.constant_specular is constant


def test_two_materials_with_different_factors_vary(tmp_path: Path) -> None:
    file = GltfFile({"pbrMetallicRoughness": {"roughnessFactor": 0.2}})
    file.document["materials"].append({"pbrMetallicRoughness": {"roughnessFactor": 0.9}})
    file.document["meshes"][0]["primitives"].append({**file.document["meshes"][0]["primitives"][0], "material": 1})
    assert inspect(file.glb(tmp_path / "box.glb")).constant_specular is False


def test_what_it_holds_is_flagged(tmp_path: Path) -> None:
    file = GltfFile({"alphaMode": "BLEND", "extensions": {"KHR_materials_pbrSpecularGlossiness": {}}})
    file.document |= {"animations": [{"channels": [], "samplers": []}], "skins": [{"joints": [0]}]}
    file.document["nodes"][0]["skin"] = 0
    primitive = file.document["meshes"][0]["primitives"][0]
    primitive["attributes"]["COLOR_0"] = file.accessor(np.zeros((24, 3), "<f4"), "VEC3")
    found = inspect(file.glb(tmp_path / "box.glb"))
    assert set(found.flags) >= {"alpha", "animated", "skinned", "spec-gloss", "vertex-colours"}


@pytest.mark.parametrize(
    "uri", ["../box.bin", "/etc/passwd", "%2e%2e/box.bin", "file:///etc/passwd", "a/../../box.bin"]
)
def test_a_buffer_outside_the_folder_is_refused(tmp_path: Path, uri: str) -> None:
    folder = tmp_path / "asset"
    folder.mkdir()
    file = GltfFile()
    (tmp_path / "box.bin").write_bytes(file.binary)
    assert rejection(file.gltf(folder / "box.gltf", uri)) == "escapes-folder"


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "asset"
    folder.mkdir()
    file = GltfFile()
    (tmp_path / "box.bin").write_bytes(file.binary)
    (folder / "box.bin").symlink_to(tmp_path / "box.bin")
    assert rejection(file.gltf(folder / "box.gltf")) == "escapes-folder"


def test_buffers_in_the_folder_and_in_data_uris_are_read(tmp_path: Path) -> None:
    file = GltfFile()
    (tmp_path / "my box.bin").write_bytes(file.binary)
    assert inspect(file.gltf(tmp_path / "a.gltf", "my%20box.bin")).textured is False
    embedded = "data:application/octet-stream;base64," + base64.b64encode(file.binary).decode()
    assert inspect(file.gltf(tmp_path / "b.gltf", embedded)).textured is False
    assert rejection(file.gltf(tmp_path / "c.gltf", embedded[:-8])) == "malformed"


def test_missing_and_short_resources_are_named(tmp_path: Path) -> None:
    file = GltfFile()
    path = file.gltf(tmp_path / "box.gltf")
    assert rejection(path) == "missing-file"
    (tmp_path / "box.bin").write_bytes(file.binary[:-1])
    assert rejection(path) == "malformed"
    os.mkfifo(tmp_path / "pipe.bin")
    assert rejection(file.gltf(tmp_path / "box.gltf", "pipe.bin")) == "missing-file"


@pytest.mark.parametrize(("uri", "reason"), [("wood.png", "missing-texture"), ("../wood.png", "escapes-folder")])
def test_a_texture_file_must_be_there_and_inside(tmp_path: Path, uri: str, reason: str) -> None:
    folder = tmp_path / "asset"
    folder.mkdir()
    (tmp_path / "wood.png").write_bytes(noise_png())
    file = textured(noise_png())
    file.document["images"][0] = {"uri": uri}
    assert rejection(file.glb(folder / "box.glb")) == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"count": 25}, "malformed"),
        ({"byteOffset": 4}, "malformed"),
        ({"bufferView": 99}, "malformed"),
        ({"componentType": 5130}, "malformed"),
        ({"count": -1}, "malformed"),
        ({"count": 2**62}, "too-large"),
        ({"count": 2_000_000_000, "bufferView": None}, "too-large"),
        (
            {"sparse": {"count": 2, "indices": {"bufferView": 0, "componentType": 5125}, "values": {"bufferView": 9}}},
            "malformed",
        ),
    ],
)
def test_accessors_out_of_range_are_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    file = GltfFile()
    file.document["accessors"][0] |= change
    assert rejection(file.glb(tmp_path / "box.glb")) == reason


@pytest.mark.parametrize(
    "nodes",
    [
        [{"children": [1]}, {"children": [0], "mesh": 0}],
        [{"children": [0], "mesh": 0}],
        [{"children": [2]}, {"children": [2]}, {"mesh": 0}],
        [{"children": [7], "mesh": 0}],
        [{"mesh": 3}],
        [*({"children": [index + 1]} for index in range(5000)), {"mesh": 0}],
    ],
    ids=["ring", "own child", "two parents", "missing child", "missing mesh", "too deep"],
)
def test_nodes_that_are_no_tree_are_refused(tmp_path: Path, nodes: list[dict[str, Any]]) -> None:
    file = GltfFile()
    file.document["nodes"] = nodes
    assert rejection(file.glb(tmp_path / "box.glb")) == "malformed"


@pytest.mark.parametrize("name", ["KHR_draco_mesh_compression", "KHR_texture_basisu", "EXT_meshopt_compression"])
def test_extensions_that_cannot_be_imported_are_refused(tmp_path: Path, name: str) -> None:
    file = GltfFile()
    file.document |= {"extensionsUsed": [name], "extensionsRequired": [name]}
    assert rejection(file.glb(tmp_path / "box.glb")) == "unsupported-format"


def test_broken_containers_are_refused(tmp_path: Path) -> None:
    whole = GltfFile().glb(tmp_path / "whole.glb").read_bytes()
    file = tmp_path / "box.glb"
    for data, reason in [
        (b"", "malformed"),
        (whole[:15], "malformed"),
        (whole[:-4], "malformed"),
        (whole[:4] + b"\1" + whole[5:], "unsupported-format"),
        (b"<html>404</html>", "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"asset": {"version": "2.0"}, "nodes": [{"scale": [NaN, 1, 1]}]}', "malformed"),
        (json.dumps({"asset": {"version": "1.0"}}).encode(), "unsupported-format"),
        (glb_bytes({"asset": {"version": "2.0"}}, b""), "no-geometry"),
    ]:
        file.write_bytes(data)
        assert rejection(file) == reason
    assert rejection(tmp_path / "gone.glb") == "missing-file"


def test_sizes_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.glb"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a sparse file
    assert rejection(path) == "too-large"
    assert rejection(GltfFile().glb(path), limits=AssetLimits(json_bytes=100)) == "too-large"
    assert rejection(textured(huge_png_header(100_000, 100_000)).glb(path)) == "too-large"
    assert rejection(textured(huge_png_header(16_000, 16_000)).glb(path)) == "too-large"


def test_only_decoding_finds_an_image_that_ends_early(tmp_path: Path) -> None:
    path = textured(noise_png(64)[:-2000]).glb(tmp_path / "box.glb")
    assert inspect(path).textured is True
    assert rejection(path, decode=True) == "bad-texture"
    assert rejection(textured(b"GIF87a no image").glb(path)) == "bad-texture"


def test_buffers_are_bounded_in_number_and_together(tmp_path: Path) -> None:
    (tmp_path / "box.bin").write_bytes(bytes(1000) + bytes(3000))
    file = GltfFile()
    file.gltf(tmp_path / "box.gltf")
    file.document["buffers"] *= 200_000
    (tmp_path / "many.gltf").write_text(json.dumps(file.document))
    file.document["buffers"] = file.document["buffers"][:20]
    (tmp_path / "large.gltf").write_text(json.dumps(file.document))
    for name in ("many", "large"):
        with pytest.raises(AssetError) as caught:
            inspect(tmp_path / f"{name}.gltf", AssetLimits(file_bytes=50_000_000 if name == "many" else 60_000))
        assert caught.value.reason == "too-large"
    assert inspect(tmp_path / "large.gltf").format == "gltf"


def test_a_name_longer_than_the_file_system_takes_is_missing(tmp_path: Path) -> None:
    file = GltfFile()
    path = file.gltf(tmp_path / "box.gltf", "a" * 100_000)
    with pytest.raises(AssetError) as caught:
        inspect(path)
    assert caught.value.reason == "missing-file"
