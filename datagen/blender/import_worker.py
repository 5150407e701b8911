"""The process in which `datagen.assets.isolation` examines files: one path per line in, one verdict per line out.

Answers leave through a pipe of their own (its descriptor is the only argument), since importers print as they like.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from datagen.assets.asset_file import DEFAULT_LIMITS, AssetError, AssetLimits
from datagen.assets.inspection import score
from datagen.assets.isolation import READY, Verdict
from datagen.blender.importing import Imported, import_mesh
from datagen.blender.material_aovs import instrument
from datagen.blender.session import leave, purge, snapshot, start
from scenes.physics.convex_parts import CollisionShape, collision_shape

_LARGEST_FILE = 2 << 30
_MOST_TRIANGLES = 200_000
_SET_PARENT_DEATH_SIGNAL = 1


def examine(path: Path, limits: AssetLimits = DEFAULT_LIMITS) -> Verdict:
    """Inspect, import and instrument one file; nothing of it stays in Blender. Never raises for a bad file."""
    before = snapshot()
    try:
        return _verdict(import_mesh(path, limits, decode=True))
    except AssetError as error:
        return Verdict(reason=error.reason, message=str(error), log_tail=error.log_tail)
    except MemoryError:
        return Verdict(reason="out-of-memory", message=f"{path.name}: out of memory")
    except Exception as error:  # the importers are Python code too, and a hostile file finds every gap in it
        return Verdict(reason="import-error", message=f"{path.name}: {type(error).__name__}: {str(error)[:300]}")
    finally:
        purge(before)


def _verdict(imported: Imported) -> Verdict:
    uses = tuple(instrument(material) for material in imported.materials)
    for use in uses:
        if use.status == "missing-texture":
            raise AssetError("missing-texture", f"{use.detail}", where=use.name)
    unresolved = any(use.status not in ("resolved", "approximated") for use in uses)
    return Verdict(
        footprint=imported.footprint,
        polygons=imported.polygons,
        size=imported.size,
        materials=uses,
        flags=imported.flags + (("unresolved-material",) if unresolved else ()),
        score=score(imported.inspection, imported.polygons, uses),
        collision=_collision(imported),
    )


def _collision(imported: Imported) -> CollisionShape | UnsetType:
    """Convex parts of all meshes together; none of a mesh so fine that it would take minutes."""
    vertices, triangles, count = [], [], 0
    for obj in imported.objects:
        mesh = obj.data
        mesh.calc_loop_triangles()
        points = np.empty(3 * len(mesh.vertices), dtype=np.float32)
        corners = np.empty(3 * len(mesh.loop_triangles), dtype=np.int32)
        mesh.vertices.foreach_get("co", points)
        mesh.loop_triangles.foreach_get("vertices", corners)
        vertices.append(points.reshape(-1, 3))
        triangles.append(corners.reshape(-1, 3) + count)
        count += len(mesh.vertices)
    if sum(map(len, triangles)) > _MOST_TRIANGLES:
        return UNSET
    return collision_shape(np.concatenate(vertices), np.concatenate(triangles))


def _restrain() -> None:
    """Leave no core file, write no huge file, and do not outlive the parent."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    prctl: Any = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def main() -> int:
    """Serve until standard input ends."""
    _restrain()
    faulthandler.enable(os.fdopen(os.dup(2), "w"))  # a copy, since descriptor 2 is captured while importing
    answers = os.fdopen(int(sys.argv[1]), "wb")
    start("CPU", threads=1)
    answers.write(READY + b"\n")
    answers.flush()
    for line in sys.stdin.buffer:
        verdict = examine(Path(msgspec.json.decode(line, type=str)))
        answers.write(msgspec.json.encode(verdict) + b"\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    leave(main)
