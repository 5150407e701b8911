"""A ball on a plane, traced in closed form: G-buffers and cast shadows that owe nothing to the code under test."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from manifests.contract.camera import intrinsics_from_fov

UP = torch.nn.functional.normalize(torch.tensor([0.0, 0.8, 0.6]), dim=0)
"""The ground's normal in the camera frame: the camera looks down at it."""

_GROUND = -3.1  # UP . point of the ground
CENTRE = torch.tensor([0.0, 0.0, -4.0])
RADIUS = float(CENTRE @ UP) - _GROUND  # the ball rests on the ground


@dataclass(frozen=True)
class Scene:
    """depth (1, 1, 1, H, W) with +inf background, normal and points (1, 1, 3, H, W), ground and ball (H, W) bool."""

    intrinsics: Tensor
    depth: Tensor
    normal: Tensor
    points: Tensor
    ground: Tensor
    ball: Tensor

    @property
    def mask(self) -> Tensor:
        return torch.isfinite(self.depth).float()

    def shadow(self, direction: Tensor) -> Tensor:
        """Ground pixels (H, W) from which the ball hides a light in unit `direction`."""
        return self.ground & torch.isfinite(_ball(self.points[0, 0], direction[:, None, None]))


def _ball(origin: Tensor, ray: Tensor) -> Tensor:
    """Distance along unit rays (3, H, W) from origin (3, H, W) to the ball; inf where they miss it."""
    offset = origin - CENTRE[:, None, None]
    middle = -(offset * ray).sum(0)
    inside = middle.square() - offset.square().sum(0) + RADIUS**2
    distance = middle - inside.clamp(min=0).sqrt()
    return torch.where((inside > 0) & (distance > 1e-3), distance, torch.inf)


def zoom(size: int = 48, fields: tuple[float, ...] = (45.0, 30.0)) -> Scene:
    """A clip of one frame for each field of view; its lens is (1, T, 3, 3), and `ground` and `ball` are the first's."""
    frames = [scene(size, fov=fov) for fov in fields]
    parts = {name: torch.cat([getattr(frame, name) for frame in frames], 1) for name in ("depth", "normal", "points")}
    lens = torch.stack([frame.intrinsics for frame in frames], 1)
    return replace(frames[0], intrinsics=lens, **parts)


def scene(size: int = 48, *, ball: bool = True, fov: float = 45.0) -> Scene:
    """Trace the scene at size x size pixels, field of view 45 degrees."""
    matrix = torch.from_numpy(intrinsics_from_fov(fov, size, size)).float()
    pixel = (torch.arange(size) + 0.5 - size / 2) / matrix[0, 0]
    plane = torch.stack([pixel.expand(size, size), -pixel[:, None].expand(size, size), -torch.ones(size, size)])
    ray = plane / plane.norm(dim=0)
    falling = (UP[:, None, None] * ray).sum(0)
    to_ground = torch.where(falling < -1e-6, _GROUND / falling, torch.inf)
    to_ground = torch.where(to_ground < 12, to_ground, torch.inf)
    to_ball = _ball(torch.zeros_like(ray), ray) if ball else torch.full_like(to_ground, torch.inf)
    distance = torch.minimum(to_ground, to_ball)
    on_ball, on_ground = to_ball < to_ground, torch.isfinite(to_ground) & (to_ground <= to_ball)
    points = torch.where(torch.isfinite(distance), distance, 1.0) * ray
    background = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand_as(ray)
    normal = torch.where(on_ground, UP[:, None, None], background)
    normal = torch.where(on_ball, (points - CENTRE[:, None, None]) / RADIUS, normal)
    depth = torch.where(torch.isfinite(distance), -points[2], torch.inf)
    return Scene(matrix[None], depth[None, None, None], normal[None, None], points[None, None], on_ground, on_ball)


def materials(traced: Scene, *, basecolor: float = 0.6, roughness: float = 0.9) -> dict[str, Tensor]:
    """Uniform basecolor, roughness and metallic for a scene, with the table's background values."""
    mask = traced.mask
    return {
        "basecolor": (basecolor * mask).expand(-1, -1, 3, -1, -1),
        "normal": traced.normal,
        "roughness": torch.where(mask > 0, roughness, 0.5),
        "metallic": torch.zeros_like(mask),
    }
