"""What a street's layout is collected in: pieces with their instances and poses, and the space that they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec import UNSET

from scenes.catalogue import Asset
from scenes.settings.setting_layout import TakenSpace
from scenes.settings.street_materials import StreetMaterials
from scenes.spec import Builtin, Material, Object, SettingPiece, Value

GROUND_INSTANCE = 1
Pose = tuple[float, float, float, float]
"""x, y, z in metres, yaw in degrees."""


@dataclass
class Street:
    """A street while it is laid out."""

    materials: StreetMaterials
    pieces: list[SettingPiece] = field(default_factory=list)
    objects: list[Object] = field(default_factory=list)
    assets: list[Asset] = field(default_factory=list)
    cars: list[tuple[float, float, float, float]] = field(default_factory=list)
    paints: list[Material] = field(default_factory=list)
    looks: list[dict[str, Material]] = field(default_factory=list)
    _boxes: list[tuple[float, ...]] = field(default_factory=list)
    _discs: list[tuple[float, float, float]] = field(default_factory=list)
    _instances: int = GROUND_INSTANCE

    def new_instance(self) -> int:
        """The next free instance index."""
        self._instances += 1
        return self._instances

    def add(
        self,
        name: str,
        instance: int,
        generator: str,
        params: Mapping[str, Value],
        material: Material,
        poses: Sequence[Pose] = (),
        scales: Sequence[float] = (),
        copies: Builtin | None = None,
    ) -> None:
        """Add a piece, shown at `poses` with their `scales`, or where `copies` says; in place without either."""
        if poses:
            where: dict[str, Value] = {"poses": tuple(round(float(value), 4) for pose in poses for value in pose)}
            if scales:
                where["scales"] = tuple(scales)
            copies = Builtin(uid="street/fixed_poses", generator="fixed_poses", params=where)
        mesh = Builtin(uid=f"street/{generator}", generator=generator, params=dict(params))
        self.pieces.append(
            SettingPiece(name=name, instance=instance, mesh=mesh, material=material, copies=copies or UNSET)
        )

    def take(self, x: float, y: float, low: float, high: float, half: tuple[float, float], yaw: float = 0.0) -> None:
        """No camera may enter this upright box."""
        self._boxes.append((x, y, (low + high) / 2, half[0], half[1], (high - low) / 2, yaw))

    def is_free(self, x: float, y: float, radius: float) -> bool:
        """Whether a disc on the pavement touches none of those that stand there."""
        if not self._discs:
            return True
        discs = np.array(self._discs)
        return bool((np.hypot(discs[:, 0] - x, discs[:, 1] - y) > discs[:, 2] + radius + 0.08).all())

    def stand(self, x: float, y: float, radius: float) -> None:
        """Something stands on the pavement here."""
        self._discs.append((x, y, radius))

    def taken(self, ground: float) -> TakenSpace:
        """The taken boxes over a ground that is nowhere higher than `ground`."""
        rows = np.array(self._boxes).round(4)
        return TakenSpace(rows[:, :3], rows[:, 3:6], rows[:, 6], lambda points: np.full(points.shape[:-1], ground))
