"""Assets alone, seen by a camera that is given: their G-buffers, or their picture under a light with what they throw.

What is put into a clip that exists already goes through the factory's own import, materials and passes, so that it is
described as what is there. Blender runs in a process of its own: the caller has torch loaded, and the file may be a
stranger's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from datagen.child import run_python
from manifests.codec.codecs import decode_clip
from manifests.contract.camera import Camera
from manifests.contract.clip import Clip
from manifests.contract.environment import Environment
from manifests.contract.row import MaterialUse
from manifests.errors import RenderError
from manifests.object_path import Place
from pipeline.options import DeviceKind
from scenes.catalogue import Catalogue
from scenes.providers.file_checks import MESH_SUFFIXES, shown
from scenes.spec import File, Material, Native, Positive, Principled, Source, SpecData

CHILD = "datagen.blender.insert_worker"
REQUEST = "request.json"
FAILURE = "failure.json"
LIGHT = "light.npz"
LIT = "lit.npz"
RELIEF = "relief.npz"
MATERIALS = "materials.json"
KEY = "object"
INSTANCE = 2
"""Index of the first asset in the clip that is rendered; who composites it chooses others."""

SECONDS = 3600.0
_MOST_TOLD = 3
_PLAIN = Principled(uid="plain", basecolor=(0.6, 0.6, 0.6), roughness=0.4, metallic=0.0)

Rows = tuple[tuple[float, ...], ...]
Part = tuple[int, int, int, int]
"""(top, left, bottom, right) of a picture, in pixels."""


@dataclass(frozen=True)
class Insert:
    """An asset to insert: `mesh` with `material`, and the folders in which its files lie, by provider."""

    mesh: Source
    material: Material
    roots: Mapping[str, Place]


@dataclass(frozen=True, eq=False)
class PlacedAsset:
    """An asset and its `object_to_world` (4, 4), or (T, 4, 4) where it moves: rotation, scale and place of the mesh's
    normalised frame (`scenes.spec.Object`)."""

    asset: Insert
    object_to_world: np.ndarray


@dataclass(frozen=True, eq=False)
class Catcher:
    """A square that nobody sees and that catches shadows and reflections.

    plane_to_world: (4, 4), of a square of sides 1 in the plane z = 0. The material is what the surface there has.
    """

    plane_to_world: np.ndarray
    basecolor: tuple[float, float, float]
    roughness: float
    metallic: float


@dataclass(frozen=True, eq=False)
class Relief:
    """Surfaces of the scene, in the world, that nobody sees and that catch shadows and show in mirrors.

    vertices (N, 3), triangles (M, 3) of them; what they are made of: basecolor (N, 3), linear, roughness and metallic
    (N,). solid: whether they keep light off; what stands in a wrong place must not.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    basecolor: np.ndarray
    roughness: np.ndarray
    metallic: np.ndarray
    solid: bool = True


@dataclass(frozen=True, eq=False)
class LitPicture:
    """Assets under a light in a frame, in two parts of it: finely where the assets are, coarsely around, as far as they
    change the light.

    Attributes:
        part: with the assets, h x w pixels.
        around: a part that holds `part`.
        rgb: (h, w, 3) linear radiance times coverage.
        mask: (h, w, 1) coverage.
        depth: (h, w, 1) planar depth, +inf where no asset is.
        change: (h, w, 3) factor on what is seen of the catchers' surfaces.
        change_around: (y, x, 3) the same factor in `around`, shrunk.
    """

    part: Part
    around: Part
    rgb: np.ndarray
    mask: np.ndarray
    depth: np.ndarray
    change: np.ndarray
    change_around: np.ndarray


class RequestedAsset(SpecData, frozen=True, kw_only=True):
    """An asset of an `InsertRequest`: `object_to_world` has 4x4 rows, once or for each frame."""

    mesh: Source
    material: Material
    roots: dict[str, str]
    object_to_world: tuple[Rows, ...]


class RequestedCatcher(SpecData, frozen=True, kw_only=True):
    """A `Catcher` of an `InsertRequest`."""

    plane_to_world: Rows
    material: Principled


class InsertRequest(SpecData, frozen=True, kw_only=True):
    """What the rendering process is told, as JSON. Matrices are nested rows.

    `parts` are what is rendered of each frame under the light in the folder, finely and coarsely; if none, G-buffers.
    """

    assets: tuple[RequestedAsset, ...]
    catchers: tuple[RequestedCatcher, ...] = ()
    intrinsics: tuple[Rows, ...]
    camera_to_world: tuple[Rows, ...]
    height: int
    width: int
    parts: tuple[tuple[Part, Part], ...] = ()
    fps: Positive = 24.0
    samples: int
    device: str


class Failure(SpecData, frozen=True, kw_only=True):
    """A RenderError on its way out of the rendering process."""

    reason: str
    message: str


def find_asset(name: str, catalogue: Catalogue) -> Insert:
    """The mesh file at the path `name`, with its own materials, or the catalogue's mesh of that uid.

    Meshes that bring no material are plain grey. Raises RenderError and SpecError.
    """
    path = Path(name)
    if shown(str(path.absolute())) != str(path.absolute()):
        raise RenderError("missing-asset", "its path is not UTF-8", "rename it", where=shown(name))
    if path.suffix.lower() in MESH_SUFFIXES and name not in {asset.uid for asset in catalogue.assets}:
        if not path.is_file():
            raise RenderError("missing-asset", "no such file", "give a mesh file or a uid of the catalogue", where=name)
        file = File(uid=path.name, provider="given", path=path.name, sha256="")
        return Insert(file, Native(), {"given": path.absolute().parent})
    asset = catalogue[name]
    if asset.mesh is None:
        raise RenderError("missing-asset", f"a {asset.kind}, not a mesh", "only meshes can be inserted", where=name)
    return Insert(asset.mesh, Native() if isinstance(asset.mesh, File) else _PLAIN, catalogue.roots)


def render_insert(
    assets: Sequence[PlacedAsset],
    camera: Camera,
    size: tuple[int, int],
    out: Path,
    *,
    fps: float = 24.0,
    samples: int = 64,
    device: DeviceKind = "auto",
) -> Clip:
    """Render assets alone, without ground or light, and return the clip that then lies in `out` (`exact` codec).

    Args:
        assets: what to render.
        camera: intrinsics in pixels (the centre may lie anywhere, but fy / fx is the same in all frames) and a pose for
            each of the T frames.
        size: (H, W) of the picture.
        out: folder, made if need be; the clip's files are `object.<suffix>`.
        fps: recorded in the clip.
        samples: per pixel; they only smooth edges and textures, there is no light.
        device: what renders.

    Returns:
        Clip of T frames with basecolor, normal, depth, roughness, metallic, mask and instance (`INSTANCE` and on);
        depth is in scene units, background where no asset is.

    Raises RenderError: for what is wrong with the asset, and when the process dies (`crashed`) or takes too long.
    """
    _ask(out, assets, camera, size, fps=fps, samples=samples, device=device)
    files = {path.name.removeprefix(f"{KEY}."): path.read_bytes() for path in out.glob(f"{KEY}.*")}
    return decode_clip(KEY, files)


def render_lit(
    assets: Sequence[PlacedAsset],
    catchers: Sequence[Catcher],
    light: Environment,
    camera: Camera,
    size: tuple[int, int],
    parts: Sequence[tuple[Part, Part]],
    out: Path,
    *,
    relief: Relief | None = None,
    samples: int = 64,
    device: DeviceKind = "auto",
) -> list[LitPicture]:
    """Path trace assets under a light, and how they change the light on the catchers: with them against without them.

    light: its radiance is that of the picture. parts: `part` and `around` in each frame, of pictures of `size` (H, W);
    each of the two has one size in all frames. relief: more that catches. The other arguments and errors are those of
    `render_insert`. Returns one for each frame, or a single one where nothing changes over the film.
    """
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / LIGHT, image=light.image, rotations=light.rotation)
    (out / RELIEF).unlink(missing_ok=True)
    if relief is not None:
        np.savez(out / RELIEF, **vars(relief))
    _ask(out, assets, camera, size, samples=samples, device=device, parts=tuple(parts), catchers=catchers)
    with np.load(out / LIT) as made:
        arrays = dict(made)
    return [
        LitPicture(*parts[frame], **{name: array[frame] for name, array in arrays.items()})
        for frame in range(len(arrays["rgb"]))
    ]


def told_materials(out: Path, traced: bool) -> str:
    """In one line for people, how the materials of what was rendered in `out` were resolved.

    traced: by `render_lit`, which shows what they emit.
    """
    uses = msgspec.json.decode((out / MATERIALS).read_bytes(), type=tuple[MaterialUse, ...])
    told = [f"{use.name}: {use.status}" + (f" ({use.detail})" if use.detail else "") for use in uses[:_MOST_TOLD]]
    told += [f"and {len(uses) - _MOST_TOLD} more"] if len(uses) > _MOST_TOLD else []
    if not traced and any(use.status == "unlit" or "emi" in use.detail for use in uses):
        told.append("what is unlit or glows is shown without its own light, but with `render` cycles")
    return "; ".join(told)


def _rows(matrices: np.ndarray) -> tuple[Rows, ...]:
    """(4, 4) or (T, 4, 4) as nested rows."""
    return tuple(tuple(map(tuple, one)) for one in matrices.reshape(-1, 4, 4).tolist())


def _ask(
    out: Path,
    assets: Sequence[PlacedAsset],
    camera: Camera,
    size: tuple[int, int],
    *,
    catchers: Sequence[Catcher] = (),
    **how: Any,
) -> None:
    """Have the rendering process do it, to its end."""
    out.mkdir(parents=True, exist_ok=True)
    request = InsertRequest(
        assets=tuple(
            RequestedAsset(
                mesh=placed.asset.mesh,
                material=placed.asset.material,
                roots={name: str(root) for name, root in placed.asset.roots.items()},
                object_to_world=_rows(placed.object_to_world),
            )
            for placed in assets
        ),
        catchers=tuple(
            RequestedCatcher(
                plane_to_world=one.plane_to_world.tolist(),
                material=Principled(
                    uid=f"catcher/{number}", basecolor=one.basecolor, roughness=one.roughness, metallic=one.metallic
                ),
            )
            for number, one in enumerate(catchers)
        ),
        intrinsics=camera.frame_intrinsics.tolist(),
        camera_to_world=camera.camera_to_world.tolist(),
        height=size[0],
        width=size[1],
        **how,
    )
    (out / REQUEST).write_bytes(msgspec.json.encode(request))
    (out / FAILURE).unlink(missing_ok=True)
    name = ", ".join(placed.asset.mesh.uid for placed in assets)
    try:
        ended = run_python("-m", CHILD, str(out), seconds=SECONDS, scratch=out)
    except TimeoutError:
        raise RenderError("timed-out", f"not rendered after {SECONDS:g} seconds", where=name) from None
    if (out / FAILURE).exists():
        failure = msgspec.json.decode((out / FAILURE).read_bytes(), type=Failure)
        raise RenderError(failure.reason, failure.message, log_tail=ended.output[-4096:])
    if ended.code != 0:
        why = f": {ended.last_line}" if ended.last_line else ""
        raise RenderError(
            "crashed", f"Blender ended with code {ended.code}{why}", where=name, log_tail=ended.errors[-4096:]
        )
