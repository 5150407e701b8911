"""Makes the datasets of this folder with the code of the last release that wrote contract 1 (commit 0c5166d).

They are kept, each as NAME.tar.xz, because nothing of today can make them. In a checkout of that commit:

    PYTHONPATH=. python make.py OUT

`rendered`: exact, two lights per scene, a failed scene, and a shard of which one scene and one failure wait in work/.
`labelled`: compact, `lights` 0: the first video has one clip, the second two.
`merged`: two datasets whose keys collide.
"""

# mypy: ignore-errors
import sys
import tarfile
from pathlib import Path

import msgspec

from manifests.clip import Clip
from manifests.codecs import encode_clip
from manifests.dataset import open_or_create
from manifests.merge import merge
from manifests.row import ITEM_CLIPS, AssetUse, Sample
from manifests.shards import write_failure, write_item, write_shard
from manifests.statistics import summarise
from tests.manifests.clips import failure, header, make_dataset, raw_sample, row, sphere_clip

COUNTS = (1, 2)


def small(scene: int, light: int, codec: str = "exact", **fields: object) -> Sample:
    """A clip of one frame of 8 x 8 pixels."""
    key = f"{scene:08d}-{light:02d}"
    whole = sphere_clip(key, frames=1, size=8, seed=scene)
    clip = Clip(key, {name: whole.arrays[name] for name in ("rgb", "mask")}, whole.camera, None, 8.0, 0.5)
    files, errors = encode_clip(clip, codec)
    statistics = {name: value for name, value in summarise(clip).items() if ".hist." not in name}
    fields["statistics"] = statistics | fields.pop("statistics", {})
    shape = {"frames": 1, "height": 8, "width": 8, "exposure": 0.5, "attributes": ("rgb", "mask")}
    return Sample(key, files, row(key, scene, light, codec_errors=errors, **shape, **fields))


def labelled(scene: int, part: int) -> Sample:
    return small(
        scene,
        part,
        "compact",
        stage="label",
        split="all",
        recipe="tiny teacher one-step",
        samples=1.0,
        materials=(),
        motions=(),
        assets=(AssetUse(uid="a.mp4", kind="footage", source="films", licence="CC-BY-4.0", author="A. Painter"),),
        statistics={ITEM_CLIPS: float(COUNTS[scene]), "footage.first": 24.0 * part},
        confidence={"normal": 0.75, "depth": 0.5},
        flags=("relative-depth",),
    )


def other(scene: int, light: int) -> Sample:
    plain = raw_sample(scene, light, 300)
    return Sample(plain.key, plain.files, msgspec.structs.replace(plain.row, seed=8, spec_digest=f"{scene + 90:064x}"))


def main(folder: Path) -> None:
    made = make_dataset(folder / "rendered", [2], small, shards=[0, 1], lights=2, items=6, per_shard=2)
    write_item(made.item_path(4), [small(4, light) for light in range(2)])
    write_failure(made.failure_path(5), failure(5, 2))
    made.finish()
    made = open_or_create(
        folder / "labelled", header(stage="label", codec="compact", lights=0, items=2, per_shard=2, recipe={"steps": 1})
    )
    write_shard(made.path, 0, [[labelled(scene, part) for part in range(COUNTS[scene])] for scene in range(2)], [])
    made.finish()
    make_dataset(folder / "one", [1], lambda scene, light: raw_sample(scene, light, 300), lights=2, items=2)
    make_dataset(folder / "two", (), other, items=1, seed=8)
    merge([folder / "one", folder / "two"], folder / "merged")
    for name in ("rendered", "labelled", "merged"):
        with tarfile.open(folder / f"{name}.tar.xz", "w:xz") as archive:
            archive.add(folder / name, name, filter=lambda member: None if member.name.endswith(".lock") else member)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
