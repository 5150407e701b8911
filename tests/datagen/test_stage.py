from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from faulty_stage import FaultyStage, smallest_recipe

from datagen.generation import DatagenSettings, create, generate, resume, stage_of
from datagen.render_stage import asset_uses
from manifests.audit.verify import verify
from manifests.codec.codecs import decode_clip
from manifests.codec.exr import write_exr
from manifests.contract.attributes import ATTRIBUTES
from manifests.errors import DatasetError
from manifests.object_path import ObjectPath
from manifests.store.dataset import Dataset, open_dataset
from pipeline.cluster import connect
from pipeline.engine import run
from pipeline.ledger import status
from pipeline.options import RunOptions
from scenes.catalogue import Catalogue, MeshMeasurement
from scenes.providers.builtin import builtin_catalogue
from scenes.providers.folder import folder_catalogue
from scenes.spec import File, Footprint, digest, from_json, to_json
from tests.datagen.meshfiles import GltfFile, noise_png
from tests.object_store import SECRET, upload

HERE = Path(__file__).parent
OPTIONS = RunOptions(workers=1, show_progress=False)

REQUIRED = {name for name, known in ATTRIBUTES.items() if known.required}


@pytest.fixture(scope="module", autouse=True)
def shared_ray() -> Iterator[None]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(HERE)
    cluster = connect(OPTIONS)
    yield
    cluster.close()
    if before is not None:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Four clips of two scenes under two lights each."""
    path = tmp_path_factory.mktemp("made") / "set"
    recipe = smallest_recipe()
    recipe = msgspec.structs.replace(recipe, lights=msgspec.structs.replace(recipe.lights, per_scene=2))
    report = generate(
        path, DatagenSettings(recipe, clips=4, seed=3, per_shard=1, codec="exact"), builtin_catalogue(), OPTIONS
    )
    assert (report.clips, report.finished, report.failed) == (4, 2, 0)
    return open_dataset(path)


def test_a_dataset_is_whole_and_its_rows_say_what_was_rendered(made: Dataset) -> None:
    assert verify(made.path).ok
    rows = made.rows()
    assert [row.key for row in rows] == ["00000000-00", "00000000-01", "00000001-00", "00000001-01"]
    assert [(row.item, row.part, row.shard) for row in rows] == [(0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 1, 1)]
    for row in rows:
        assert (row.stage, row.seed, row.split, row.frames, row.height, row.width) == ("datagen", 3, "all", 4, 32, 32)
        assert set(row.attributes) >= REQUIRED
        assert row.device.startswith("CPU") and row.steps == 2.0 and row.seconds > 0
        assert row.motions and row.materials and row.statistics["mask.coverage"] > 0
        assert {"mesh", "environment"} <= {use.kind for use in row.assets}
        assert all(use.licence and use.source for use in row.assets)


def test_every_clip_carries_its_spec_and_decodes(made: Dataset) -> None:
    stage = stage_of(made)
    for row in made.rows():
        files = made.files(row)
        spec = from_json(files["spec.json"])
        assert spec == stage.spec(row.item) and digest(spec) == row.spec_digest
        clip = decode_clip(row.key, files)
        assert clip.frames == 4 and clip.camera is not None and clip.environment is not None
        assert clip.meta == {"spec_digest": row.spec_digest, "light": row.part}


def test_clips_of_one_scene_share_their_g_buffers_but_not_their_light(made: Dataset) -> None:
    first, second = (decode_clip(row.key, made.files(row)) for row in made.rows()[:2])
    for name in REQUIRED - {"rgb"}:
        np.testing.assert_array_equal(first.arrays[name], second.arrays[name])
    assert np.abs(first.arrays["rgb"] - second.arrays["rgb"]).max() > 0.01


def test_asset_uses_name_what_is_in_view_and_only_this_clips_light(made: Dataset) -> None:
    stage = stage_of(made)
    spec = stage.spec(0)
    for light in range(2):
        uses = asset_uses(spec, light, stage.assets())
        assert [use.uid for use in uses if use.kind == "environment"] == [spec.lights[light].map.uid]
        assert {obj.mesh.uid for obj in spec.objects} == {use.uid for use in uses if use.kind == "mesh"}


def test_a_dataset_goes_on_with_its_own_settings_and_refuses_others(made: Dataset) -> None:
    assert resume(made.path, OPTIONS).clips == 0
    with pytest.raises(DatasetError, match="seed is 3, not 4"):
        create(made.path, DatagenSettings(stage_of(made).recipe, 4, 4, "exact", 1), builtin_catalogue())


def test_status_is_read_off_the_disk(made: Dataset) -> None:
    found = status(made.path)
    assert (found.items, found.finished, found.shards, found.clips, found.running) == (2, 2, 2, 4, False)
    with made.lock():
        assert status(made.path).running


def test_a_clip_is_rendered_again_from_its_spec_pixel_for_pixel(made: Dataset, tmp_path: Path) -> None:
    row = made.rows()[0]
    files = made.files(row)
    (tmp_path / "scene.json").write_bytes(files["spec.json"])
    script = (
        "import sys; from pathlib import Path; from datagen.blender import session; from datagen.render_stage import "
        "render_spec; from scenes.providers.builtin import builtin_catalogue; "
        "session.leave(lambda: print(render_spec(Path(sys.argv[1]), Path(sys.argv[2]), builtin_catalogue())) or 0)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "scene.json", tmp_path / "out"], check=True)
    for suffix, data in files.items():
        assert (tmp_path / "out" / f"{row.key}.{suffix}").read_bytes() == data, suffix
    assert (tmp_path / "out" / f"{row.key}.png").exists()


def test_scenes_that_cannot_be_made_cost_no_other_clip(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "corrupt.glb").write_bytes(struct.pack("<4sIIII", b"glTF", 2, 4000, 3980, 0x4E4F534A) + b'{"asset": {')
    nothing = np.full((16, 32), np.nan, np.float32)
    (corpus / "nan.exr").write_bytes(write_exr(dict.fromkeys("RGB", nothing)))
    files = {
        name: File(uid=name, provider="corpus", path=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for name, path in {"mesh": corpus / "corrupt.glb", "environment": corpus / "nan.exr"}.items()
    }
    settings = DatagenSettings(smallest_recipe(), clips=8, per_shard=4, codec="exact")
    dataset = create(tmp_path / "set", settings, builtin_catalogue())
    good = stage_of(dataset, roots={"corpus": corpus})
    stage = FaultyStage(
        **{field: getattr(good, field) for field in good.__dataclass_fields__},
        faults={1: "segfault", 2: "hang", 4: "mesh", 5: "environment"},
        files=files,
    )
    options = RunOptions(workers=1, show_progress=False, attempts=1, time_limit_s=20)
    report = run(dataset, stage, options)
    assert (report.finished, report.failed, report.complete) == (4, 4, True)
    reasons = {failure.item: failure.reason for failure in dataset.failures()}
    assert reasons == {1: "crash", 2: "timeout", 4: "malformed", 5: "bad-environment"}
    assert [row.item for row in dataset.rows()] == [0, 3, 6, 7]
    assert all(from_json(failure.spec).index == failure.item for failure in dataset.failures())
    assert verify(dataset.path).ok


def test_a_full_scratch_folder_stops_the_run_and_does_not_condemn_the_scene(tmp_path: Path, made: Dataset) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", disk], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    script = (
        "import sys; from pathlib import Path; from datagen.blender import session; "
        "from datagen.generation import stage_of; "
        "from manifests.store.dataset import open_dataset; from manifests.errors import DiskFull\n"
        "def main():\n"
        "    try: stage_of(open_dataset(Path(sys.argv[1]))).make_worker().produce(0)\n"
        "    except DiskFull as error: print(error); return 7\n"
        "session.leave(main)"
    )
    try:
        command = [sys.executable, "-c", script, made.path]
        done = subprocess.run(command, env=os.environ | {"TMPDIR": str(disk)}, capture_output=True, check=False)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
    assert done.returncode == 7, done.stderr
    assert "no space left for rendered frames; make room or set TMPDIR" in done.stdout.decode()


def test_a_dataset_in_a_bucket_keeps_its_catalogue_there(bucket: ObjectPath) -> None:
    catalogue = builtin_catalogue()
    dataset = create(bucket, DatagenSettings(smallest_recipe(), clips=2, seed=3), catalogue)
    stage = pickle.loads(pickle.dumps(stage_of(dataset)))  # noqa: S301
    assert stage.assets().digest == dataset.header.catalogue == catalogue.digest
    assert create(bucket, DatagenSettings(smallest_recipe(), clips=2, seed=3), catalogue) == dataset
    with pytest.raises(DatasetError, match="seed is 3, not 4"):
        create(bucket, DatagenSettings(smallest_recipe(), clips=2, seed=4), catalogue)


def own_assets(root: Path) -> Catalogue:
    """A box with a file of geometry and a texture beside it, a folder of maps and a light; and the plain primitives."""
    for name in ("box/tex", "oak"):
        (root / name).mkdir(parents=True)
    box = GltfFile({"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}})
    box.document |= {"images": [{"uri": "tex/a%20b.png"}], "textures": [{"source": 0}]}
    box.gltf(root / "box" / "box.gltf", "tex/box.bin")
    (root / "box/tex/box.bin").write_bytes(bytes(box.binary))
    for name in ("box/tex/a b.png", "oak/oak_diff.png", "oak/oak_rough.png"):
        (root / name).write_bytes(noise_png(len(name)))
    light = np.random.default_rng(0).random((16, 32), np.float32)
    (root / "hall.exr").write_bytes(write_exr(dict.fromkeys("RGB", light)))
    (root / "lightloom-assets.yaml").write_text('assets: [{path: "**", licence: CC0-1.0, author: me}]')
    measured = MeshMeasurement(score=0.8, footprint=Footprint(radius=0.6, height=0.3))
    mine = folder_catalogue(root, "mine").with_scores({"mine/box/box.gltf": measured})
    primitives = [asset for asset in builtin_catalogue().assets if asset.kind == "mesh" and "primitive" in asset.roles]
    return mine.merge(Catalogue(primitives))


def test_a_run_with_catalogue_assets_and_dataset_in_a_bucket_makes_the_clips_of_the_folder(
    bucket: ObjectPath, tmp_path: Path
) -> None:
    here = own_assets(tmp_path / "mine")
    (tmp_path / "recipe.yaml").write_bytes(to_json(smallest_recipe()))
    settings = DatagenSettings(smallest_recipe(), clips=2, seed=3)
    generate(tmp_path / "near", settings, here, OPTIONS)
    upload(tmp_path / "mine", bucket / "assets" / "mine")
    here.save(bucket / "assets" / "all.parquet")
    shutil.rmtree(tmp_path / "mine")
    words = f"datagen run {bucket}/far --recipe {tmp_path}/recipe.yaml --clips 2 --seed 3 --workers 1"
    words += f" --catalogue {bucket}/assets/all.parquet --asset-cache-gib 1"
    command = [sys.executable, "-c", "from lightloom.cli import main; main()", *words.split()]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    near, far = open_dataset(tmp_path / "near"), open_dataset(bucket / "far")
    assert far.header == near.header
    stages = stage_of(near), stage_of(far)
    assert [to_json(stages[0].spec(index)) for index in range(20)] == [to_json(stages[1].spec(i)) for i in range(20)]
    for one, other in zip(near.rows(), far.rows(), strict=True):
        assert near.files(one) == far.files(other)
        assert {use.source for use in other.assets} >= {"mine"}
    assert list((tmp_path / "cache" / "lightloom" / "assets" / "in-use").iterdir()) == []
