"""Rigid bodies that fall and come to rest on the ground z = 0, simulated by MuJoCo.

A scene unit counts as a quarter of a metre, so gravity is 39.24 units / s^2 and a thing of 1.5 units is as large as a
chair's seat. All bodies are equally dense, equally rough and do not bounce. Equal arguments give equal bytes on one
kind of machine: MuJoCo steps a model on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenes.physics.convex_parts import CollisionShape

METRES = 0.25
GRAVITY = 9.81 / METRES
FRICTION = 0.7
_TORSION, _ROLLING = 0.02, 0.04  # lengths in scene units: what stops balls, as a carpet does
_STEPS_A_SECOND = 240
_STIFFNESS = (0.009, 1.0)  # time constant in seconds, at least twice the step; critically damped
_IMPEDANCE = (0.95, 0.99, 0.001, 0.5, 2.0)
_LONGEST = 5.0  # seconds until rest
_WATCH = 0.5  # seconds over which rest is judged
_MEMORY = 1 << 28  # bytes that contacts may take, used as they come; MuJoCo's own 14 MiB end at some 200 contacts
STILL = 0.0005  # of a thing's size a second


@dataclass(frozen=True, eq=False)
class Body:
    """A thing in its mesh frame (`scenes.spec.Object`) times `scale`, let go at `position` (3,) with `orientation`
    (w, x, y, z), `velocity` (3,) and `spin` (3,) in radians a second about the world's axes."""

    shape: CollisionShape
    scale: float
    position: np.ndarray
    orientation: np.ndarray
    velocity: np.ndarray
    spin: np.ndarray


class RigidBodies:
    """A simulation that begins where the bodies are let go; a frame of a clip is a whole number of its steps.

    With a `fence` walls stand around the origin at that distance until `open_fence`.
    """

    def __init__(self, bodies: Sequence[Body], fps: float, fence: float = 0.0) -> None:
        import mujoco

        self._step = mujoco.mj_step
        self.sizes = np.array([body.scale for body in bodies])
        self._steps = int(np.ceil(_STEPS_A_SECOND / fps))
        self._model = _model(bodies, 1 / (fps * self._steps), fence)
        self._data = mujoco.MjData(self._model)
        for row, body in enumerate(bodies):
            self._data.qpos[7 * row : 7 * row + 7] = (*body.position, *body.orientation)
            self._data.qvel[6 * row : 6 * row + 3] = body.velocity
            turn = np.empty(9)
            mujoco.mju_quat2Mat(turn, body.orientation)
            self._data.qvel[6 * row + 3 : 6 * row + 6] = turn.reshape(3, 3).T @ body.spin

    @property
    def poses(self) -> np.ndarray:
        """(N, 7): position and quaternion (w, x, y, z) of each body's mesh frame."""
        return self._data.qpos.reshape(-1, 7).copy()

    def frames(self, count: int) -> np.ndarray:
        """Poses (count, N, 7) at successive frames, now being the first; time moves on."""
        found = [self.poses]
        for _ in range(count - 1):
            self._step(self._model, self._data, self._steps)
            found.append(self.poses)
        return np.stack(found)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self._step(self._model, self._data, round(seconds / self._model.opt.timestep))

    def open_fence(self) -> None:
        """Take the walls away."""
        walls = self._model.geom_bodyid == 0
        walls[0] = False  # the ground
        self._model.geom_contype[walls] = self._model.geom_conaffinity[walls] = 0

    def push(self, row: int, velocity: np.ndarray) -> None:
        """Add a velocity (3,) to one body."""
        self._data.qvel[6 * row : 6 * row + 3] += velocity

    def settle(self) -> bool:
        """Let time pass until nothing moves; False if something still does after 5 s."""
        return any(self.unrest(_WATCH).max() < STILL for _ in range(round(_LONGEST / _WATCH)))

    def unrest(self, seconds: float) -> np.ndarray:
        """Let time pass; how far each body (N,) moved in it, in its own sizes a second, turns included."""
        before = self.poses
        self.run(seconds)
        after = self.poses
        moved = np.linalg.norm(after[:, :3] - before[:, :3], axis=1) / self.sizes
        cosine = np.abs((after[:, 3:] * before[:, 3:]).sum(axis=1))
        return (moved + 2 * np.arccos(np.minimum(cosine, 1.0))) / seconds


def _model(bodies: Sequence[Body], timestep: float, fence: float) -> Any:
    import mujoco

    spec = mujoco.MjSpec()
    spec.memory = _MEMORY
    spec.option.timestep = timestep
    spec.option.gravity = [0.0, 0.0, -GRAVITY]
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0  # friction that holds, instead of creeping
    spec.option.noslip_iterations = 4
    contact = {"condim": 6, "friction": [FRICTION, _TORSION, _ROLLING], "solref": _STIFFNESS, "solimp": _IMPEDANCE}
    plane = mujoco.mjtGeom.mjGEOM_PLANE
    spec.worldbody.add_geom(type=plane, size=[0.0, 0.0, 1.0], **contact)
    for angle in np.arange(0.0, 2 * np.pi, np.pi / 4) if fence else ():
        inward = -np.array([np.cos(angle), np.sin(angle), 0.0])
        turn = np.array([1.0, -inward[1], inward[0], 0.0]) / np.sqrt(2)  # z to inward
        spec.worldbody.add_geom(type=plane, size=[0.0, 0.0, 1.0], pos=-fence * inward, quat=turn, **contact)
    for row, body in enumerate(bodies):
        added = spec.worldbody.add_body(pos=body.position, quat=body.orientation)
        added.add_freejoint()
        for number, points in enumerate(body.shape.points()):
            name = f"{row}-{number}"
            spec.add_mesh(name=name, uservert=(points * body.scale).ravel())
            added.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, density=1.0, **contact)
    return spec.compile()
