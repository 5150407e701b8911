"""Coverage-guided fuzzing of every parser of ours: only our own errors leave them, soon, and in bounded memory.

    python -m benchmarks.fuzz --minutes 10              # all parsers, a process and an equal share of the time each
    python -m benchmarks.fuzz --minutes 1 --only tar

Needs atheris (libFuzzer for Python). Half of the inputs are bytes as libFuzzer mutates them; the others edit a sound
document, so that what lies behind the first check is reached too. What was found lies in the folder that is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import re
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import atheris
import numpy as np
from PIL import Image

ROOMS = ["manifests", "scenes", "datagen.assets", "labeling.sources", "labeling.cameras", "renderers.checkpoints"]
with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=ROOMS):
    from datagen.assets.inspection import open_asset
    from editing.benchmark.judgments import JUDGMENTS, read_judgments
    from labeling.cameras.camera_files import FilmCameras, SolvedShot, read_cameras, write_cameras
    from labeling.sources.colmap import parse_colmap
    from labeling.sources.discovery import FootageRule
    from labeling.sources.dl3dv import read_index
    from labeling.sources.frame_stores import ZipStore
    from labeling.sources.transforms import bends, camera_of, checked, of_folder, parse_transforms, pose_of
    from manifests.codec import clip_json
    from manifests.codec.codecs import encode_clip
    from manifests.codec.exr import write_exr
    from manifests.codec.light_file import read_light
    from manifests.contract.clip import Clip
    from manifests.errors import LightloomError
    from manifests.picture_file import read_picture
    from manifests.sidecars import read_rules
    from manifests.store import archive
    from manifests.store.dataset import open_or_create
    from manifests.store.header import Header, read_document
    from renderers.checkpoints.reading import read_header
    from renderers.checkpoints.summary import inspect
    from scenes import spec as scene_spec
    from scenes.providers.builtin import builtin_catalogue
    from scenes.recipes import load_recipe
    from scenes.sampling import sample_scene

SLOW_S, MEMORY_MB, LONGEST = 2.0, 2048, 1 << 14
ODD: list[Any] = [
    *(
        None,
        True,
        0,
        1,
        -1,
        2,
        0.5,
        -0.5,
        1e-320,
        1e308,
        -1e308,
        float("nan"),
        float("inf"),
        2**31,
        2**63,
        2**64,
        10**40,
    ),
    *("", "x", "../x", "/", "a" * 300, "\u202e", "\0", "1", "1e999", [], {}, [[]], [0] * 40, {"": 0}, {"kind": "x"}),
]
SIZE = (48, 64)


def edited(document: Any, changes: bytes) -> Any:
    """A document with every two bytes of `changes` replacing one of its values by an odd one, or removing it."""
    held = {"": copy.deepcopy(document)}

    def places(node: Any) -> Iterator[tuple[Any, Any]]:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            yield node, key
            yield from places(node[key])

    for place, value in zip(changes[::2], changes[1::2], strict=False):
        every = list(places(held))
        node, key = every[place * len(every) // 256]
        if value < 2 * len(ODD):
            node[key] = copy.deepcopy(ODD[value % len(ODD)])
        elif node is not held:
            del node[key]
    return held[""]


class Target:
    """A parser: its seeds, and how it is called with bytes; `document` is a sound one, where it reads JSON or YAML."""

    def __init__(self, parse: Callable[[bytes], object], *seeds: bytes, document: bytes = b"") -> None:
        self._parse, self._document = parse, json.loads(document) if document else None
        self.seeds = [b"\0" + seed for seed in (*seeds, *([document] if document else []))]

    def __call__(self, data: bytes) -> None:
        if self._document is not None and data[:1] and data[0] % 2:
            data = b"\0" + json.dumps(edited(self._document, data[1:])).encode()
        self._parse(data[1:])


def _file(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A parser of files, as one of bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def parse(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return parse


def _tar(data: bytes) -> None:
    for read in (archive.salvage, archive.scan):
        for _ in read(io.BytesIO(data), len(data)):
            pass


def _transforms(data: bytes) -> None:
    found = parse_transforms(data)
    poses = {n: pose for n, one in enumerate(found.entries().values()) if (pose := pose_of(one)) is not None}
    bends(camera_of(found, poses, SIZE, SIZE), SIZE)


def _splits(data: bytes) -> None:
    of_folder([data], "images")


def _colmap(data: bytes) -> None:
    cameras, _, images = data.partition(b"|split|")
    checked(parse_colmap(cameras, images, text=data.startswith(b"#")))


def _mesh(path: Path) -> None:
    open_asset(path).inspection(decode=True)


def _picture(data: bytes) -> None:
    try:
        read_picture(data, 1 << 16).over_black()
    except (ValueError, OverflowError) as error:  # what it documents; callers say it in their words
        raise LightloomError(str(error)) from None


def targets(folder: Path) -> dict[str, Target]:
    """Every parser, by name, with small seeds; files that it reads are written to the folder."""
    clip = Clip("key", {"rgb": np.ones((2, 8, 8, 3), np.float32)}, fps=24.0)
    header = encode_clip(clip, "exact")[0]["clip.json"]
    tar_bytes = b"".join(archive.encode("key", {"rgb.exr": b"x" * 700, "clip.json": header})) + archive.END
    open_or_create(
        folder / "new", Header(stage="label", codec="exact", recipe={}, seed=0, items=1, per_shard=1, lights=0)
    )
    pose = np.eye(4).tolist()
    shot = SolvedShot(first=0, last=1, kind="moving", camera_to_world=[pose] * 2, intrinsics=[np.eye(3).tolist()] * 2)
    write_cameras(folder / "seed.json", FilmCameras(size=SIZE, shots=[shot]))
    ngp = {"camera_angle_x": 0.9, "frames": [{"file_path": "images/0", "transform_matrix": pose, "k1": 0.1}]}
    spec = scene_spec.to_json(sample_scene(builtin_catalogue(), load_recipe("tiny"), 0, 0))
    tensors = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    weights = struct.pack("<Q", len(tensors)) + tensors + bytes(8)
    (folder / "checkpoint/unet").mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint/unet/diffusion_pytorch_model.safetensors").write_bytes(weights)
    (folder / "checkpoint/unet/config.json").write_bytes(b'{"_class_name": "VideoUNet"}')
    index = {"backbone": "tiny", "kind": "inverse", "attributes": ["depth"], "training": {"steps": 1}, "licence": ""}
    recipe = {"base": "tiny", "frames": 2, "camera": {"fov": {"kind": "uniform", "low": 30, "high": 40}}, "lights": {}}
    rules = {"footage": [{"path": "a*/**", "licence": "CC0-1.0", "fps": 24, "label": "x"}]}
    judgments = json.loads(JUDGMENTS.read_bytes())
    judgments = {key: value[:2] if isinstance(value, list) else value for key, value in judgments.items()}
    gltf = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 36, "uri": "data:application/octet-stream;base64," + "AAAA" * 12}],
        "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0], "max": [1]}],
        "materials": [
            {"pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 1]}, "extensions": {}, "alphaMode": "MASK"}
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "material": 0, "mode": 4}]}],
        "nodes": [{"mesh": 0, "children": [], "matrix": [1] * 16}],
        "scenes": [{"nodes": [0]}],
    }
    glb_json = json.dumps(gltf).encode().ljust(1200)
    glb = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(glb_json), len(glb_json), b"JSON") + glb_json
    obj = b"mtllib a.mtl\nusemtl a\nv 0 0 0 1 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 -1/1\n"
    mtl = b"newmtl a\nKd 1 0 0\nKs 1 1 1\nNs 96\nd 0.5\nTr 1\nillum 2\nPr 0.4\nmap_Kd -s 1 1 1 a.png\n"
    (folder / "m.obj").write_bytes(obj)
    ply = "ply\nformat {} 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
    ply += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    plies = (ply.format("ascii") + "0 1 0\n3 0 0 0\n").encode(), ply.format("binary_little_endian").encode() + bytes(25)
    stls = bytes(80) + b"\1\0\0\0" + bytes(50), b"solid a\nfacet\nvertex 0 0 0\nendfacet\n"
    colmap_binary = struct.pack("<QiiQQ4d", 1, 1, 1, 64, 48, 50, 50, 32, 24) + b"|split|" + struct.pack("<Q", 1)
    colmap_binary += struct.pack("<i7di", 1, 1, 0, 0, 0, 0, 0, 0, 1) + b"a.png\0" + struct.pack("<Qddq", 1, 1, 1, 1)
    colmap_text = b"# a\n1 SIMPLE_RADIAL 64 48 50 32 24 0.1\n|split|1 1 0 0 0 0 0 0 1 a.png\n1 1 1\n"
    hdr = (
        b"#?RADIANCE\nEXPOSURE=2\nPRIMARIES=0 0 1 0 0 1 .3 .3\nFORMAT=32-bit_rle_rgbe\n\n-Y 8 +X 16\n"
        + bytes(range(128)) * 4
    )
    exr = write_exr({name: np.ones((4, 8), np.float32) for name in ("R", "G", "B", "a.depth")})
    with io.BytesIO() as stream:
        with zipfile.ZipFile(stream, "w") as packed:
            packed.writestr("images/0.png", b"x")
        zipped = stream.getvalue()
        png = io.BytesIO()
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(png, "PNG")
    return {
        "tar": Target(_tar, tar_bytes),
        "clip.json": Target(lambda data: clip_json.load("key", data), document=header),
        "dataset.json": Target(
            _file(folder / "set/dataset.json", lambda path: read_document(path.parent)),
            document=(folder / "new/dataset.json").read_bytes(),
        ),
        "spec": Target(scene_spec.from_json, document=spec),
        "recipe": Target(_file(folder / "r.yaml", load_recipe), b"base: tiny\n", document=json.dumps(recipe).encode()),
        "sidecar": Target(
            _file(folder / "s.yaml", lambda path: read_rules(path, "footage", FootageRule)),
            document=json.dumps(rules).encode(),
        ),
        "transforms": Target(_transforms, document=json.dumps(ngp).encode()),
        "colmap": Target(_colmap, colmap_text, colmap_binary),
        "cameras": Target(
            _file(folder / "c.json", lambda path: read_cameras(path, 2, SIZE)),
            document=(folder / "seed.json").read_bytes(),
        ),
        "gltf": Target(_file(folder / "m.gltf", _mesh), document=json.dumps(gltf).encode()),
        "glb": Target(_file(folder / "m.glb", _mesh), glb),
        "obj": Target(_file(folder / "o.obj", _mesh), obj.replace(b"mtllib a.mtl\n", b"")),
        "mtl": Target(_file(folder / "a.mtl", lambda path: _mesh(path.with_name("m.obj"))), mtl),
        "ply": Target(_file(folder / "p.ply", _mesh), *plies),
        "stl": Target(_file(folder / "s.stl", _mesh), *stls),
        "splits": Target(_splits, document=json.dumps(ngp).encode()),
        "radiance": Target(_file(folder / "l.hdr", read_light), hdr),
        "exr": Target(_file(folder / "l.exr", read_light), exr),
        "safetensors": Target(_file(folder / "w.safetensors", read_header), weights),
        "checkpoint": Target(
            _file(folder / "checkpoint/model_index.json", lambda path: inspect(path.parent)),
            document=json.dumps(index).encode(),
        ),
        "judgments": Target(_file(folder / "j.json", read_judgments), document=json.dumps(judgments).encode()),
        "index": Target(_file(folder / "i.csv", read_index), b"hash,batch,duration\n" + b"a" * 64 + b",1K,3.5\n"),
        "zip": Target(_file(folder / "z.zip", lambda path: ZipStore(path).names), zipped),
        "picture": Target(_picture, png.getvalue()),
    }


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or [""])[-1][:200]


def _fuzz(target: Target, folder: Path, seconds: float) -> None:
    """Fuzz a parser in this process, which libFuzzer ends; counts and findings are written to the folder."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    counts: dict[str, Any] = {"runs": 0, "slowest": 0.0, "findings": [], "told": 0.0}
    known: set[str] = set()

    def one(data: bytes) -> None:
        began = time.perf_counter()
        found = ""
        try:
            target(data)
        except LightloomError:
            pass
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            found = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"[:200]
        took = time.perf_counter() - began
        if took > SLOW_S:
            found = f"took {took:.1f} s"
        counts["runs"] += 1
        counts["slowest"] = max(counts["slowest"], took)
        key = re.sub(r".*\(|took.*", "", found) if found else ""
        if found and key not in known:
            known.add(key)
            (folder / f"finding-{len(known)}").write_bytes(data)
            counts["findings"].append(found)
        if found or time.perf_counter() > counts["told"] + 0.5:
            counts["told"] = time.perf_counter()
            counts["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            (folder / "counts.json").write_text(json.dumps(counts))

    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={max(round(seconds), 1)}", f"-rss_limit_mb={MEMORY_MB}", "-timeout=20"]
    how = [f"-max_len={LONGEST}", f"-artifact_prefix={folder}/", "-verbosity=0", "-len_control=0"]
    atheris.Setup([sys.argv[0], *limits, *how, str(corpus)], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz every parser, or one; prints a line each, and every finding."""
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside idle threads of numpy
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    out = options.out or Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory))
    known = targets(out / "files")
    names = options.only or list(known)
    total, wrong = 0, 0
    for name in names:
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        child = os.fork()  # libFuzzer ends its process, and what was imported and instrumented here need not be again
        if not child:
            _fuzz(known[name], folder, 60 * options.minutes / len(names))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        counts = folder / "counts.json"
        said = json.loads(counts.read_text()) if counts.exists() else {"runs": 0, "slowest": 0.0, "findings": []}
        if code:
            said["findings"].append(f"ended with {code}: {_last_line(folder / 'log')}")
        total, wrong = total + said["runs"], wrong + len(said["findings"])
        print(
            f"{name:13} {said['runs']:9,} runs, slowest {said['slowest']:.2f} s, {said.get('peak_mb', 0)} MB, "
            f"{len(said['findings'])} findings",
            *(f"  {finding}" for finding in said["findings"]),
            sep="\n",
            flush=True,
        )
    print(f"{total:,} runs, {wrong} findings; inputs are in {out}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
