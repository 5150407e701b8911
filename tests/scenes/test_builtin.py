import hashlib
import subprocess
import sys
from collections import Counter

import pytest

from scenes.catalogue import Catalogue, installed_roots
from scenes.providers.builtin import SKIES, STUDIOS, builtin_catalogue
from scenes.spec import Builtin, File

HDR_PLACES = {
    "courtyard",
    "hotel_room",
    "moonless_golf",
    "ninomaru_teien",
    "portland_landing_pad",
    "spruit_sunrise",
    "studio_small_01",
    "venice_sunset",
}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return builtin_catalogue()


def test_it_is_the_same_every_time_and_loads_neither_bpy_nor_torch(catalogue):
    script = (
        "import sys; from scenes.providers.builtin import builtin_catalogue; print(builtin_catalogue().digest); "
        "sys.exit(bool({'bpy', 'torch', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == catalogue.digest


def test_every_split_has_every_kind_of_light_mesh_and_material(catalogue):
    for split in ("train", "val", "test"):
        lights = catalogue.select("environment", split)
        kinds = Counter(a.environment.generator if isinstance(a.environment, Builtin) else "map" for a in lights)
        assert kinds["sky"] >= 10
        assert kinds["studio"] >= 10
        assert kinds["map"] == {"train": 6, "val": 1, "test": 1}[split]
        families = {a.uid.split("/")[2] for a in catalogue.select("mesh", split, role="object")}
        assert len(families) >= 10
        plain = {a.uid for a in catalogue.select("mesh", split, role="primitive")}
        assert {f"builtin/mesh/{name}" for name in ("cube", "sphere", "cylinder", "cone", "torus")} <= plain
        assert len(catalogue.select("material", split, role="ground")) >= 100


def test_splits_share_only_the_plain_primitives(catalogue):
    train, val, test = ({a.uid for a in catalogue.select("mesh", split)} for split in ("train", "val", "test"))
    shared = [catalogue[uid] for uid in sorted(train & test)]
    assert shared == [catalogue[uid] for uid in sorted(train & val)]
    assert len(shared) == 10
    assert {(asset.split, asset.roles) for asset in shared} == {("all", ("primitive",))}
    for kind in ("environment", "material"):
        parts = [{a.place or a.uid for a in catalogue.select(kind, split)} for split in ("train", "val", "test")]
        assert sum(map(len, parts)) == len(set.union(*parts))


def test_there_is_enough_to_train_on(catalogue):
    objects = catalogue.select("mesh", "all", role="object")
    assert len(objects) >= 400
    assert len({asset.uid.split("/")[2] for asset in objects}) >= 10
    generated = [a.environment for a in catalogue.select("environment", "all") if isinstance(a.environment, Builtin)]
    assert Counter(source.generator for source in generated) == {"sky": SKIES, "studio": STUDIOS}
    assert len({str(source.params) for source in generated}) == SKIES + STUDIOS
    assert len(catalogue.select("material", "all")) >= 1000


def test_blenders_maps_are_there_with_place_author_and_content_hash(catalogue):
    maps = [a for a in catalogue.assets if isinstance(a.environment, File)]
    assert {asset.place for asset in maps} == HDR_PLACES
    for asset in maps:
        assert (asset.licence, asset.author) == ("CC0-1.0", "Greg Zaal (Poly Haven)")
        path = installed_roots()["bpy"] / asset.environment.path
        assert hashlib.sha256(path.read_bytes()).hexdigest() == asset.sha256 == asset.environment.sha256


def test_every_asset_states_licence_and_author(catalogue):
    assert {asset.licence for asset in catalogue.assets} == {"Apache-2.0", "CC0-1.0", "GPL-2.0-or-later"}
    assert all(asset.author for asset in catalogue.assets)
    assert [a.uid for a in catalogue.assets if a.licence.startswith("GPL")] == ["builtin/mesh/suzanne"]


def test_sky_parameters_are_what_the_sky_texture_takes(catalogue):
    for asset in catalogue.assets:
        source = asset.environment
        if isinstance(source, Builtin) and source.generator == "sky":
            assert 1 <= source.params["sun_elevation"] <= 80
            assert 0.5 <= source.params["sun_size"] <= 8
            assert 0 < source.params["sun_intensity"] <= 1
            assert 0 <= source.params["altitude"] <= 4000
            assert all(0 < source.params[f"{part}_density"] <= 10 for part in ("air", "aerosol", "ozone"))


def test_it_survives_saving(catalogue, tmp_path):
    catalogue.save(tmp_path / "catalogue.parquet")
    assert Catalogue.load(tmp_path / "catalogue.parquet").digest == catalogue.digest
