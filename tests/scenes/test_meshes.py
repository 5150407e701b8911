import hashlib

import numpy as np
import pytest

from benchmarks.make_footprints import measure
from manifests.errors import SpecError
from scenes.meshes import MESH_FAMILIES, build, footprint, footprints, normalised
from scenes.meshgen.composites import COMPOSITES
from scenes.meshgen.rocks import ROCK_STYLES, gradient_noise
from scenes.meshgen.solids import box
from scenes.meshgen.surface import MeshData, join, place
from scenes.meshgen.turned import LATHE_STYLES
from scenes.providers.builtin import mesh_sources

STYLES = {"lathe": LATHE_STYLES, "rock": ROCK_STYLES, "composite": tuple(COMPOSITES)}
SAMPLES = [
    *[source for source, role, _ in mesh_sources() if role == "primitive"],
    *[source for source, role, _ in mesh_sources() if role == "object" and source.params["seed"] in (0, 5)],
]


def facts(mesh: MeshData) -> dict[str, float]:
    """Checks that do not use the generators' own code: edge balance after welding, volume, UV areas."""
    points = mesh.vertices.astype(float)
    _, welded = np.unique(np.round(points, 6), axis=0, return_inverse=True)
    corner = welded.ravel()[mesh.corners]
    following = np.arange(len(corner)) + 1
    following[mesh.starts() + mesh.sizes - 1] = mesh.starts()
    edges = np.stack([corner, corner[following]], axis=1)
    edges = edges[edges[:, 0] != edges[:, 1]]
    forward = np.sort(edges[:, 0] * len(points) + edges[:, 1])
    backward = np.sort(edges[:, 1] * len(points) + edges[:, 0])
    here, there = points[mesh.corners], points[mesh.corners[following]]
    areas = np.linalg.norm(np.add.reduceat(np.cross(here, there), mesh.starts()), axis=1) / 2
    a, b, c = points[mesh.corners[mesh.triangles()]].swapaxes(0, 1)
    u, v = mesh.uvs.astype(float), mesh.uvs.astype(float)[following]
    uv_areas = np.add.reduceat(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0], mesh.starts()) / 2
    return {
        "open": float(np.abs(forward - backward).sum()),
        "volume": float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6),
        "uv_scale": float(np.sqrt(np.abs(uv_areas).sum() / areas.sum())),
        "uv_folded": float((uv_areas <= 0).sum()),
        "degenerate": float((areas < 1e-10).mean()),
    }


@pytest.mark.parametrize("source", SAMPLES, ids=lambda source: source.uid.removeprefix("builtin/mesh/"))
def test_every_mesh_is_closed_outward_textured_and_normalised(source):
    mesh = build(source.generator, source.params)
    found = facts(mesh)
    assert found["open"] == 0
    assert found["volume"] > 0
    assert found["uv_folded"] == 0
    assert 0.7 < found["uv_scale"] < 1.7
    assert found["degenerate"] < 0.002
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    np.testing.assert_allclose((high - low).max(), 1, atol=1e-6)
    np.testing.assert_allclose([*(low + high)[:2], low[2]], 0, atol=1e-6)
    assert len(mesh.vertices) <= 20_000
    assert mesh.corners.max() < len(mesh.vertices)
    assert mesh.sizes.sum() == len(mesh.corners) == len(mesh.uvs)
    assert (mesh.sizes >= 3).all()
    assert (mesh.vertices.dtype, mesh.corners.dtype, mesh.uvs.dtype, mesh.smooth.dtype) == ("f4", "i4", "f4", "?")


def test_the_same_parameters_give_the_same_bytes_and_other_seeds_other_meshes():
    def digest(family: str, seed: int) -> str:
        style = {"style": STYLES[family][0]} if family in STYLES else {}
        mesh = build(family, {"seed": seed, **style})
        return hashlib.sha256(mesh.vertices.tobytes() + mesh.corners.tobytes() + mesh.uvs.tobytes()).hexdigest()

    for family in MESH_FAMILIES:
        assert digest(family, 3) == digest(family, 3) != digest(family, 4)


def test_shipped_footprints_are_those_of_the_meshes():
    shipped = {uid: value for uid, value in footprints().items() if uid != "builtin/mesh/suzanne"}
    measured = measure()
    assert measured.keys() == shipped.keys()
    for uid, found in measured.items():  # another processor's sine may tip the rounding to 1e-4 over
        assert found.radius == pytest.approx(shipped[uid].radius, abs=1.1e-4), uid
        assert found.height == pytest.approx(shipped[uid].height, abs=1.1e-4), uid


def test_footprint_of_a_cube_is_its_diagonal_and_side():
    found = footprint(build("box", {"x": 2.0, "y": 2.0, "z": 1.0}))
    assert found.radius == pytest.approx(np.sqrt(0.5), abs=1e-4)
    assert found.radius >= np.sqrt(0.5)
    assert found.height == 0.5


def test_suzanne_has_the_footprint_that_the_catalogue_states():
    pytest.importorskip("bpy")
    from datagen.blender.mesh_objects import suzanne

    mesh = suzanne().data
    points = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    points = points.reshape(-1, 3).astype(float)
    stated = footprints()["builtin/mesh/suzanne"]
    assert stated.radius == pytest.approx(np.hypot(points[:, 0], points[:, 1]).max(), abs=1e-4)
    assert stated.height == pytest.approx(points[:, 2].max(), abs=1e-4)


def test_primitives_have_their_known_volumes():
    for generator, params, volume in [
        ("box", {"x": 1.0, "y": 0.5, "z": 0.25}, 0.125),
        ("ellipsoid", {"x": 1.0, "y": 1.0, "z": 1.0, "segments": 96}, np.pi / 6),
        ("frustum", {"low": 0.5, "high": 0.5, "height": 1.0, "segments": 96}, np.pi / 4),
        ("frustum", {"low": 0.5, "high": 0.0, "height": 1.0, "segments": 96}, np.pi / 12),
        ("torus", {"major": 0.35, "minor": 0.15}, 2 * np.pi**2 * 0.35 * 0.15**2),
        ("wedge", {"x": 1.0, "y": 1.0, "z": 1.0}, 0.5),
        ("pyramid", {"sides": 4, "radius": np.sqrt(0.5), "height": 1.0}, 1 / 3 / 2**1.5),
    ]:
        assert facts(build(generator, params))["volume"] == pytest.approx(volume, rel=0.02), generator


def test_unknown_generators_and_parameters_are_named():
    with pytest.raises(SpecError, match="no mesh generator 'dodo'"):
        build("dodo", {})
    with pytest.raises(SpecError, match="'gear' does not take"):
        build("gear", {"teeth": 7})
    for family, styles in STYLES.items():
        with pytest.raises(SpecError, match=f"'{family}' does not take"):
            build(family, {"seed": 1})
        with pytest.raises(SpecError, match="cheese"):
            build(family, {"seed": 1, "style": "cheese"})
        assert len(styles) > 4


def test_a_mesh_without_size_cannot_be_normalised():
    with pytest.raises(SpecError, match="cannot be normalised"):
        normalised(place(box(1, 1, 1), scale=0.0))


def test_joining_keeps_every_part_whole():
    both = join([box(1, 1, 1), place(box(1, 1, 1), [3, 0, 0])])
    assert facts(both)["volume"] == pytest.approx(2)
    assert len(both.sizes) == 12


def test_noise_is_smooth_bounded_and_zero_on_the_lattice():
    points = np.random.default_rng(0).uniform(-20, 20, (4000, 3))
    values = gradient_noise(points, 5)
    assert np.abs(values).max() < 1.6
    assert values.std() > 0.2
    assert np.abs(gradient_noise(points + 1e-4, 5) - values).max() < 2e-3
    np.testing.assert_allclose(gradient_noise(np.round(points), 5), 0, atol=1e-12)
