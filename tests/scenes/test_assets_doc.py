"""The guide's examples run as they stand and its numbers are those of the catalogue."""

import re
from pathlib import Path

from scenes.catalogue import Catalogue
from scenes.providers.builtin import builtin_catalogue
from scenes.spec import File
from tests.scenes.assetfiles import exr, glb, image

GUIDE = (Path(__file__).parents[2] / "docs" / "assets.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def test_the_guides_folder_sidecar_and_code_work_as_shown(tmp_path, monkeypatch):
    root = tmp_path / "my-assets"
    glb(root / "chairs" / "chair.glb")
    for number, name in enumerate(("Color", "Roughness", "NormalGL")):
        image(root / "oak" / f"Oak_1K-JPG_{name}.jpg", number)
    exr(root / "light" / "old_hall_4k.exr")
    (root / "lightloom-assets.yaml").write_text(blocks("yaml")[0])
    monkeypatch.chdir(tmp_path)
    exec(blocks("python")[0], {})
    catalogue = Catalogue.load(Path("catalogue.parquet"))
    assert catalogue.problems == ()
    mine = {asset.uid: (asset.licence, asset.author) for asset in catalogue.assets if asset.provider == "mine"}
    assert mine == {
        "mine/chairs/chair.glb": ("CC-BY-4.0", "Ann Example"),
        "mine/light/old_hall_4k.exr": ("CC0-1.0", "Poly Haven"),
        "mine/oak": ("CC0-1.0", "ambientCG"),
    }
    assert catalogue["mine/oak"].material.size == 0.5


def test_the_guides_numbers_are_those_of_the_catalogue():
    assets = builtin_catalogue().assets
    kinds = {
        "the CC0 maps": sum(isinstance(asset.environment, File) for asset in assets),
        "Blender's physical sky": sum(asset.uid.startswith("builtin/environment/sky/") for asset in assets),
        "photo studios": sum(asset.uid.startswith("builtin/environment/studio/") for asset in assets),
        "superquadrics": sum(asset.kind == "mesh" and "object" in asset.roles for asset in assets),
        "ten plain shapes": sum(asset.kind == "mesh" and "primitive" in asset.roles for asset in assets),
        "procedural materials": sum(asset.kind == "material" for asset in assets),
    }
    for start, number in kinds.items():
        assert re.search(rf"^\|[^|]*\| {start}[^|]*\| {number:,} \|$", GUIDE, re.MULTILINE), (start, number)
