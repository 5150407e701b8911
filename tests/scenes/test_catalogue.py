from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from manifests.errors import SpecError
from scenes.catalogue import Asset, AssetProblem, Catalogue, MeshMeasurement, assign_split
from scenes.licences import LicencePolicy
from scenes.spec import Builtin, File, Footprint, Principled


def mesh(uid: str, **changes: object) -> Asset:
    asset = Asset(
        uid=uid,
        kind="mesh",
        provider="mine",
        licence="CC0-1.0",
        author="A",
        split="train",
        roles=("object",),
        mesh=File(uid=uid, provider="mine", path=f"{uid}.glb", sha256="00"),
        footprint=Footprint(radius=0.5, height=1.0),
    )
    return msgspec.structs.replace(asset, **changes)


def material(uid: str, **changes: object) -> Asset:
    asset = Asset(
        uid=uid,
        kind="material",
        provider="mine",
        licence="CC0-1.0",
        author="A",
        split="train",
        material=Principled(uid=uid, basecolor=(0.1, 0.2, 0.3), roughness=0.5, metallic=0.0),
    )
    return msgspec.structs.replace(asset, **changes)


def uids(assets: tuple[Asset, ...]) -> list[str]:
    return [asset.uid for asset in assets]


def test_select_orders_by_uid_and_filters_by_kind_split_and_role():
    catalogue = Catalogue(
        [mesh("c"), mesh("a"), mesh("b", split="val"), mesh("p", roles=("primitive",), split="all"), material("m")]
    )
    assert uids(catalogue.select("mesh", "train")) == ["a", "c", "p"]
    assert uids(catalogue.select("mesh", "val")) == ["b", "p"]
    assert uids(catalogue.select("mesh", "all", role="object")) == ["a", "b", "c"]
    assert uids(catalogue.select("material", "train", role="ground")) == ["m"]
    assert catalogue.select("environment", "train") == ()


def test_select_applies_the_licence_policy():
    catalogue = Catalogue(
        mesh(word, licence=word) for word in ("CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-SA-4.0", "CC0-1.0", "unknown")
    )
    assert uids(catalogue.select("mesh", "train")) == ["CC-BY-SA-4.0", "CC0-1.0"]
    strict = LicencePolicy(share_alike=False)
    assert uids(catalogue.select("mesh", "train", strict)) == ["CC0-1.0"]
    assert len(catalogue.select("mesh", "train", LicencePolicy(non_commercial=True))) == 3


def test_meshes_are_selected_only_after_scoring_and_rejected_ones_never():
    unscored = {"footprint": None, "score": 0.0, "flags": ("unscored",)}
    catalogue = Catalogue([mesh("good", **unscored), mesh("bad", **unscored)], {"mine": Path("/x")})
    assert catalogue.select("mesh", "train") == ()
    scored = catalogue.with_scores(
        {
            "good": MeshMeasurement(score=0.8, footprint=Footprint(radius=0.4, height=1.0), flags=("textured",)),
            "bad": MeshMeasurement(score=0.0, flags=("rejected:empty",)),
        }
    )
    assert uids(scored.select("mesh", "train")) == ["good"]
    assert scored["good"].footprint == Footprint(radius=0.4, height=1.0)
    assert scored["good"].flags == ("textured",)
    assert scored["bad"].flags == ("rejected:empty",)
    assert scored.roots == catalogue.roots
    assert scored.digest != catalogue.digest


def test_scores_for_an_asset_that_is_not_there_are_refused():
    with pytest.raises(SpecError, match="no asset nothing"):
        Catalogue([mesh("a")]).with_scores({"nothing": MeshMeasurement(score=1.0)})


def test_digest_ignores_order_roots_and_problems_but_not_content():
    one = Catalogue([mesh("a"), mesh("b")], {"mine": Path("/x")})
    problem = AssetProblem(provider="mine", path="c.glb", reason="empty file")
    assert Catalogue([mesh("b"), mesh("a")], {"mine": Path("/y")}, [problem]).digest == one.digest
    assert Catalogue([mesh("a"), mesh("b", author="B")]).digest != one.digest


def test_parquet_round_trip_keeps_everything(tmp_path):
    light = Asset(
        uid="sky",
        kind="environment",
        provider="builtin",
        licence="unknown",
        author="",
        place="sky",
        split="test",
        environment=Builtin(
            uid="sky", generator="sky", params={"sun_elevation": 3.5, "kind": "x", "n": 2, "c": (1.0, 2.0)}
        ),
        flags=("a", "b"),
    )
    problem = AssetProblem(provider="mine", path="c.glb", reason="empty file")
    catalogue = Catalogue([mesh("a"), material("m"), light], {"mine": tmp_path}, [problem])
    catalogue.save(tmp_path / "catalogue.parquet")
    read = Catalogue.load(tmp_path / "catalogue.parquet")
    assert read.assets == catalogue.assets
    assert read.digest == catalogue.digest
    assert read.roots["mine"] == tmp_path
    assert read.problems == (problem,)
    moved = Catalogue.load(tmp_path / "catalogue.parquet", {"mine": Path("/elsewhere")})
    assert moved.roots["mine"] == Path("/elsewhere")
    assert [path.name for path in tmp_path.iterdir()] == ["catalogue.parquet"]


def test_load_refuses_what_is_not_a_catalogue(tmp_path):
    path = tmp_path / "catalogue.parquet"
    with pytest.raises(SpecError, match="is not a catalogue"):
        Catalogue.load(path)
    path.write_bytes(b"PAR1 no")
    with pytest.raises(SpecError, match="is not a catalogue"):
        Catalogue.load(path)


def test_load_refuses_assets_that_do_not_match_the_digest(tmp_path):
    path = tmp_path / "catalogue.parquet"
    Catalogue([mesh("a"), mesh("b")]).save(path)
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 1), path)
    with pytest.raises(SpecError, match="do not match its digest"):
        Catalogue.load(path)


def test_merge_joins_and_refuses_contradictions():
    one = Catalogue([mesh("a")], {"mine": Path("/x")})
    assert uids(one.merge(Catalogue([mesh("b"), mesh("a")])).assets) == ["a", "b"]
    with pytest.raises(SpecError, match="two different assets have the uid a"):
        one.merge(Catalogue([mesh("a", author="B")]))
    with pytest.raises(SpecError, match="provider mine has two roots"):
        one.merge(Catalogue([], {"mine": Path("/y")}))


def test_an_asset_holds_exactly_what_its_kind_says():
    with pytest.raises(SpecError, match="kind is mesh but it holds"):
        Asset(uid="a", kind="mesh", provider="p", licence="MIT", author="", split="train")


def test_splits_are_stable_and_come_in_the_stated_shares():
    counts = {"train": 0, "val": 0, "test": 0}
    for number in range(4000):
        counts[assign_split(f"asset-{number}")] += 1
    assert abs(counts["train"] - 3200) < 120
    assert abs(counts["val"] - 400) < 80
    assert abs(counts["test"] - 400) < 80
    assert (assign_split("courtyard"), assign_split("venice_sunset"), assign_split("hotel_room")) == (
        "val",
        "test",
        "train",
    )
