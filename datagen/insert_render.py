"""G-buffers of one asset alone, seen by a camera that is given: what is put into a clip that exists already.

The asset goes through the factory's own import, materials and passes, so that what is inserted is described as what is
there. Blender runs in a process of its own: the caller has torch loaded, and the file may be a stranger's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from datagen.child import run_python
from manifests.codec.codecs import decode_clip
from manifests.contract.camera import Camera
from manifests.contract.clip import Clip
from manifests.contract.color import srgb_decode, srgb_encode
from manifests.contract.row import MaterialUse
from manifests.errors import InputError, RenderError
from pipeline.options import DeviceKind
from scenes.catalogue import Catalogue
from scenes.providers.file_checks import MESH_SUFFIXES, shown
from scenes.spec import File, Material, Native, Positive, Principled, Source, SpecData

CHILD = "datagen.blender.insert_worker"
REQUEST = "request.json"
FAILURE = "failure.json"
KEY = "object"
INSTANCE = 2
"""Index of the asset in the clip that is rendered; who composites it chooses another."""

MATERIALS = "materials"
"""Name in the clip's meta of its `MaterialUse`s."""

SECONDS = 1800.0
_UNLIT = 0.5  # roughness of a material that only emits (`datagen.blender.bsdf_readers`)
_MOST_TOLD = 3
_PLAIN = Principled(uid="plain", basecolor=(0.6, 0.6, 0.6), roughness=0.4, metallic=0.0)


@dataclass(frozen=True)
class Insert:
    """An asset to insert: `mesh` with `material`, and the folders in which its files lie, by provider."""

    mesh: Source
    material: Material
    roots: Mapping[str, Path]


class InsertRequest(SpecData, frozen=True, kw_only=True):
    """What the rendering process is told, as JSON. Matrices are nested rows."""

    mesh: Source
    material: Material
    roots: dict[str, str]
    intrinsics: tuple[tuple[tuple[float, ...], ...], ...]
    camera_to_world: tuple[tuple[tuple[float, ...], ...], ...]
    object_to_world: tuple[tuple[float, ...], ...]
    height: int
    width: int
    fps: Positive
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
    asset: Insert,
    camera: Camera,
    size: tuple[int, int],
    object_to_world: np.ndarray,
    out: Path,
    *,
    fps: float = 24.0,
    samples: int = 64,
    device: DeviceKind = "auto",
) -> Clip:
    """Render the asset alone, without ground or light, and return the clip that then lies in `out` (`exact` codec).

    Args:
        asset: what to render.
        camera: intrinsics in pixels (the centre may lie anywhere, but fy / fx is the same in all frames) and a pose for
            each of the T frames.
        size: (H, W) of the picture.
        object_to_world: (4, 4) rotation, scale and place of the mesh's normalised frame (`scenes.spec.Object`).
        out: folder, made if need be; the clip's files are `object.<suffix>`.
        fps: recorded in the clip.
        samples: per pixel; they only smooth edges and textures, there is no light.
        device: what renders.

    Returns:
        Clip of T frames with basecolor, normal, depth, roughness, metallic, mask and instance (`INSTANCE`); depth is in
        scene units, background where the asset is not. `rgb` is what it emits, times coverage.

    Raises RenderError: for what is wrong with the asset, and when the process dies (`crashed`) or takes too long.
    """
    out.mkdir(parents=True, exist_ok=True)
    request = InsertRequest(
        mesh=asset.mesh,
        material=asset.material,
        roots={name: str(root) for name, root in asset.roots.items()},
        intrinsics=camera.frame_intrinsics.tolist(),
        camera_to_world=camera.camera_to_world.tolist(),
        object_to_world=object_to_world.tolist(),
        height=size[0],
        width=size[1],
        fps=fps,
        samples=samples,
        device=device,
    )
    (out / REQUEST).write_bytes(msgspec.json.encode(request))
    (out / FAILURE).unlink(missing_ok=True)
    _run(asset.mesh.uid, out)
    files = {path.name.removeprefix(f"{KEY}."): path.read_bytes() for path in out.glob(f"{KEY}.*")}
    return decode_clip(KEY, files)


def glowing(picture: np.ndarray, alone: Clip) -> np.ndarray:
    """A picture (T, h, w, 3) sRGB of the asset lit, with what it emits: 1 is white, as in a viewer.

    An unlit material shows what it emits and nothing else.
    """
    arrays, cover = alone.arrays, alone.arrays["mask"]
    glow = arrays["rgb"] / np.maximum(cover, np.float32(1e-3))
    unlit = (arrays["basecolor"].max(axis=-1) == 0) & (np.abs(arrays["roughness"] - _UNLIT) < 1e-3)[..., 0]
    alike = any(use.status == "unlit" for use in materials_of(alone)) & (arrays["metallic"] == 0) & (cover > 0)
    unlit &= alike[..., 0]
    kept = np.where(unlit[..., None], np.float32(0), srgb_decode(picture))
    return np.where((glow.max(axis=-1) > 0)[..., None] | unlit[..., None], srgb_encode(kept + glow), picture)


def materials_of(alone: Clip) -> tuple[MaterialUse, ...]:
    """How the materials of a clip of `render_insert` were resolved."""
    return msgspec.convert(alone.meta[MATERIALS], tuple[MaterialUse, ...])


def told_materials(alone: Clip) -> str:
    """The same in one line for people."""
    uses = materials_of(alone)
    told = [f"{use.name}: {use.status}" + (f" ({use.detail})" if use.detail else "") for use in uses[:_MOST_TOLD]]
    told += [f"and {len(uses) - _MOST_TOLD} more"] if len(uses) > _MOST_TOLD else []
    if any(use.status == "unlit" for use in uses):
        told.append("what is unlit keeps its own colour whatever the film's light")
    if alone.arrays["rgb"].max() > 0:
        told.append("what glows lights nothing around it")
    return "; ".join(told)


def unseen(alone: Clip, pixels: float) -> InputError:
    """Why an asset whose longest side would span so many `pixels` covers none of them."""
    name = str(alone.meta["asset"])
    if pixels < 2:
        return InputError(f"it would span {pixels:.2g} pixels", "give a larger `scale`", where=name, fields=("scale",))
    return InputError(
        f"it is transparent, nothing of it is opaque enough to show ({told_materials(alone)})", where=name
    )


def _run(name: str, out: Path) -> None:
    """The rendering process, to its end."""
    try:
        ended = run_python("-m", CHILD, str(out), seconds=SECONDS)
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
