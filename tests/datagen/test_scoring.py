from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from datagen.assets.asset_file import Inspection
from datagen.assets.inspection import score
from datagen.assets.isolation import Bounds, ImportProcess, Verdict
from datagen.assets.scoring import ScoringOptions, score_catalogue
from manifests.contract.row import MaterialUse
from manifests.errors import RunError
from scenes.catalogue import Asset, Catalogue
from scenes.spec import File
from tests.datagen.meshfiles import GltfFile, flat_png, noise_png, obj

RESOLVED = MaterialUse(name="a", status="resolved")


@pytest.mark.parametrize(
    ("inspection", "polygons", "materials", "expected"),
    [
        (Inspection("gltf", textured=True, constant_specular=False, alpha=False), 5000, [RESOLVED], 1.0),
        (Inspection("gltf", textured=False, constant_specular=True, alpha=True), 1, [], 0.1),
        (Inspection("gltf", textured=True, constant_specular=True, alpha=False), 500, [RESOLVED], 0.8),
        (Inspection("usd"), 5000, [RESOLVED], 0.7),
        (Inspection("gltf", textured=False, constant_specular=True, alpha=True), 5_000_000, [], 0.1),
        (
            Inspection("gltf", textured=False, constant_specular=True, alpha=True),
            12,
            [RESOLVED, MaterialUse(name="b", status="approximated"), MaterialUse(name="c", status="empty")],
            0.175,
        ),
    ],
)
def test_score_formula(inspection: Inspection, polygons: int, materials: list[MaterialUse], expected: float) -> None:
    assert score(inspection, polygons, materials) == pytest.approx(expected)


def test_score_falls_with_too_few_and_too_many_polygons() -> None:
    found = [score(Inspection("gltf"), count, []) for count in (20, 100, 500, 500_000, 2_000_000, 4_000_000)]
    assert found[0] < found[1] < found[2] == found[3] > found[4] > found[5]


def catalogue(root: Path, *names: str, sha256: str = "") -> Catalogue:
    return Catalogue(
        [
            Asset(
                uid=name,
                kind="mesh",
                provider="here",
                licence="CC0-1.0",
                author="",
                split="all",
                mesh=File(uid=name, provider="here", path=name, sha256=sha256),
                flags=("unscored",),
            )
            for name in names
        ],
        {"here": root},
    )


def textured_glb(path: Path) -> Path:
    file = GltfFile()
    base, other = file.texture(noise_png()), file.texture(noise_png())
    pbr = {"baseColorTexture": base, "metallicRoughnessTexture": other}
    file.document["materials"] = [{"name": "paint", "pbrMetallicRoughness": pbr}]
    return file.glb(path)


def bomb(path: Path) -> Path:
    """A small file within all limits that takes long, and much memory, to decode."""
    file = GltfFile()
    texture = file.texture(flat_png((10, 20, 30), 8192))
    file.document["materials"] = [{"pbrMetallicRoughness": {"metallicRoughnessTexture": texture}}]
    return file.glb(path)


def crasher(path: Path) -> Path:
    """USD nested so deep that Blender's parser overflows its stack."""
    depth = 100_000
    path.write_text("#usda 1.0\n" + 'def Xform "a" {\n' * depth + "}\n" * depth)
    return path


def test_a_catalogue_is_scored_whatever_its_files_do(tmp_path: Path) -> None:
    textured_glb(tmp_path / "good.glb")
    crasher(tmp_path / "crash.usda")
    (tmp_path / "cut.glb").write_bytes((tmp_path / "good.glb").read_bytes()[:-100])
    (tmp_path / "garbage.fbx").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "obj").mkdir()
    obj(tmp_path / "obj")
    listed = catalogue(
        tmp_path, "good.glb", "crash.usda", "cut.glb", "garbage.fbx", "gone.glb", "../up.glb", "obj/box.obj"
    )
    seen: dict[str, Verdict] = {}
    scored, report = score_catalogue(listed, ScoringOptions(bounds=Bounds(seconds=60)), seen.__setitem__)

    assert seen == report.verdicts
    assert {uid: one.reason for uid, one in report.verdicts.items()} == {
        "../up.glb": "escapes-folder",
        "crash.usda": "crashed",
        "cut.glb": "malformed",
        "garbage.fbx": "malformed",
        "gone.glb": "missing-file",
        "good.glb": "",
        "obj/box.obj": "",
    }
    assert "SIGSEGV" in report.verdicts["crash.usda"].message
    assert "Segmentation fault" in report.verdicts["crash.usda"].log_tail
    assert report.imported == report.fully_resolved == 2
    assert report.rejected == {"malformed": 2, "escapes-folder": 1, "crashed": 1, "missing-file": 1}
    assert report.materials == {"resolved": 2}

    good = scored["good.glb"]
    assert good.footprint is not None
    assert good.footprint.height == pytest.approx(1.0)
    assert good.score == pytest.approx(0.85, abs=0.001)  # everything but the polygon count of a box
    assert good.flags == ()
    (corners,) = good.collision.points()  # of a box
    assert (len(corners), corners[:, 2].min(), corners[:, 2].max()) == (8, 0.0, 1.0)
    assert (scored["crash.usda"].score, scored["crash.usda"].footprint) == (0.0, None)
    assert scored["crash.usda"].flags == ("rejected:crashed",)
    assert [asset.uid for asset in scored.select("mesh", "all")] == ["good.glb", "obj/box.obj"]
    again, nothing = score_catalogue(scored)
    assert nothing.verdicts == {}
    assert again.digest == scored.digest


def test_changed_content_is_refused(tmp_path: Path) -> None:
    textured_glb(tmp_path / "a.glb")
    _, report = score_catalogue(catalogue(tmp_path, "a.glb", sha256="0" * 64))
    assert report.verdicts["a.glb"].reason == "changed-file"


def test_time_and_memory_are_bounded_and_the_next_file_is_served(tmp_path: Path) -> None:
    good, heavy = textured_glb(tmp_path / "good.glb"), bomb(tmp_path / "bomb.glb")
    with ImportProcess(Bounds(seconds=0.3)) as process:
        assert process.examine(heavy).reason == "timed-out"
    with ImportProcess(Bounds(memory_bytes=700 << 20)) as process:
        assert process.examine(heavy).reason == "out-of-memory"
        assert process.examine(good).reason == ""


@pytest.fixture
def process() -> Iterator[ImportProcess]:
    with ImportProcess(Bounds(files=2)) as process:
        yield process


def children() -> list[psutil.Process]:
    return psutil.Process(os.getpid()).children()


def test_a_process_is_replaced_in_time_and_none_is_left(tmp_path: Path, process: ImportProcess) -> None:
    good = textured_glb(tmp_path / "good.glb")
    before = children()
    pids = []
    for _ in range(3):
        assert process.examine(good).reason == ""
        pids.append({child.pid for child in children()} - {child.pid for child in before})
    assert len(pids[0]) == 1
    assert pids[1] == set()  # served its two files
    assert pids[2].isdisjoint(pids[0])
    process.__exit__(None, None, None)
    assert children() == before


def test_a_death_between_two_files_costs_no_file(tmp_path: Path, process: ImportProcess) -> None:
    good = textured_glb(tmp_path / "good.glb")
    before = children()
    first = process.examine(good)
    for child in children():
        if child not in before:
            child.kill()
            child.wait()
    second = process.examine(good)
    assert msgspec.structs.replace(second, seconds=0) == msgspec.structs.replace(first, seconds=0)


def test_a_child_that_cannot_start_is_an_error_and_no_verdict(tmp_path: Path) -> None:
    with ImportProcess(child="datagen.no_such_module") as process, pytest.raises(RunError, match="no_such_module"):
        process.examine(tmp_path / "good.glb")


def mutations(data: bytes, count: int, rng: np.random.Generator) -> Iterator[bytes]:
    for number in range(count):
        if number % 2:
            yield data[: int(rng.integers(1, len(data)))]
        else:
            changed = bytearray(data)
            for place in rng.integers(0, len(data), int(rng.integers(1, 9))):
                changed[place] = int(rng.integers(256))
            yield bytes(changed)


def fuzz(tmp_path: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    (tmp_path / "obj").mkdir()
    sources = [textured_glb(tmp_path / "whole.glb"), obj(tmp_path / "obj")]
    with ImportProcess(Bounds(seconds=30)) as process:
        for source in sources:
            for number, data in enumerate(mutations(source.read_bytes(), count, rng)):
                path = source.with_name(f"changed{source.suffix}")
                path.write_bytes(data)
                verdict = process.examine(path)
                good = not verdict.reason and verdict.footprint is not None and verdict.score > 0
                bad = verdict.reason and verdict.message and verdict.footprint is None and verdict.score == 0
                assert good or bad, (source.name, number, verdict)


def test_damaged_files_get_a_verdict_each(tmp_path: Path) -> None:
    fuzz(tmp_path, 40, seed=1)


@pytest.mark.slow
def test_many_damaged_files_get_a_verdict_each(tmp_path: Path) -> None:
    fuzz(tmp_path, 3000, seed=2)


@pytest.mark.assets
def test_real_packages_are_imported() -> None:
    """Counts of the packages as fetched; the point is that nothing crashes and little of the good content is lost."""
    from benchmarks.real_assets import score_folder

    root = Path(os.environ["LIGHTLOOM_ASSETS"])
    share = {"webxr": 1.0, "furniture": 0.95, "assimp": 0.5}
    for name, least in share.items():
        _, report = score_folder(root / name)
        assert report.verdicts
        assert report.imported >= least * len(report.verdicts), report.lines()
        assert report.fully_resolved >= 0.85 * report.imported, report.lines()
        assert set(report.materials) <= {"resolved", "approximated"}, report.lines()
        assert not {"timed-out", "out-of-memory", "crashed"} & report.rejected.keys(), report.lines()
