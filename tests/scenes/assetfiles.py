"""Small whole files of the kinds that providers read, for their tests."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from manifests.codec.exr import write_exr


def glb(path: Path, note: str = "x") -> Path:
    chunk = json.dumps({"asset": {"version": "2.0", "generator": note}}).encode()
    chunk += b" " * (-len(chunk) % 4)
    body = len(chunk).to_bytes(4, "little") + b"JSON" + chunk
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"glTF" + (2).to_bytes(4, "little") + (12 + len(body)).to_bytes(4, "little") + body)
    return path


def image(path: Path, value: int = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (value, value, value)).save(path)
    return path


def exr(path: Path, value: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_exr({name: np.full((4, 8), value, np.float32) for name in "RGB"}))
    return path
