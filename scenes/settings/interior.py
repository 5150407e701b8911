"""The setting "room": a furnished interior that the environment lights through its openings; the camera is inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from scenes.catalogue import Asset
from scenes.distributions import draw_many, support
from scenes.materials_and_light import draw_material
from scenes.recipes import Recipe
from scenes.settings.furnishing import Furnisher, RestingPlace, furnish, turned, upright_box
from scenes.settings.interior_materials import RoomMaterials
from scenes.settings.interior_meshes import edge_frames
from scenes.settings.interior_plan import Opening, RoomPlan, draw_plan
from scenes.settings.setting_layout import SettingDraws, SettingLayout, TakenSpace, Viewpoints
from scenes.spec import Material, Native, Object, Portal, Procedural, Setting, TextureSet, Value

_SLAB = 0.2
_PLACE_TRIES = 24
_ON_FLOOR, _ON_TOP = (0.3, 1.1), (0.1, 0.42)
"""Longest sides of catalogue things on the floor, and on furniture."""
_DETAIL = 0.15
_STEEPEST = 0.75
_FOV = (40.0, 90.0)


def room(draws: SettingDraws) -> SettingLayout | None:
    """Lay out a room; None where its plan had no place for windows enough."""
    plan = draw_plan(draws.rng("room plan"))
    if plan is None:
        return None
    things = _Things(draws)
    materials = RoomMaterials(draws.pools.surfaces, draws.rng("room materials"))
    furnisher = Furnisher(plan, materials, draws.rng("room furniture"), instance=2 + things.most)
    _build_shell(furnisher)
    furnish(furnisher)
    things.place(furnisher)
    taken = _taken(furnisher)
    subject = things.subject() if draws.rng("room subject").random() < 0.88 else None
    return SettingLayout(
        setting=Setting(kind="room", pieces=tuple(furnisher.pieces), portals=tuple(_portals(plan))),
        assets=tuple(things.assets),
        objects=tuple(things.objects),
        taken=taken,
        viewpoints=lambda rng, count: _viewpoints(plan, taken, subject, draws.recipe, rng, count),
        subject=subject,
    )


# --- the shell ---------------------------------------------------------------------------------------------------


def _build_shell(room: Furnisher) -> None:
    plan, materials = room.plan, room.materials
    holes = tuple(value for o in plan.openings for value in (float(o.edge), o.start, o.stop, o.sill, o.top))
    shell: dict[str, Value] = {"corners": plan.corners}
    slab: dict[str, Value] = shell | {"beyond": plan.thickness}
    room.piece("floor", 1, "room_slab", slab | {"low": -_SLAB, "high": 0.0}, materials.draw("floor"))
    wall = room.new_instance()
    walls = shell | {"height": plan.height, "thickness": plan.thickness, "openings": holes}
    room.piece("walls", wall, "room_walls", walls, materials.draw("wall"))
    above = slab | {"low": plan.height, "high": plan.height + _SLAB}
    room.piece("ceiling", room.new_instance(), "room_slab", above, materials.draw("ceiling"))
    trim = materials.draw("white" if room.chance(0.7) else "wood")
    gaps = [(o.edge, o.start, o.stop) for o in plan.openings if o.sill <= 0]
    if plan.door is not None:
        gaps.append((plan.door.edge, plan.door.start - 0.08, plan.door.stop + 0.08))
    if room.chance(0.85):
        skirting: dict[str, Value] = {
            "low": -0.004,
            "high": round(room.uniform(0.05, 0.14), 3),
            "depth": round(room.uniform(0.01, 0.018), 4),
            "gaps": tuple(float(value) for gap in gaps for value in gap),
        }
        room.piece("skirting", room.new_instance(), "room_strip", shell | skirting, trim)
    if room.chance(0.3) and not any(o.top > plan.height - 0.12 for o in plan.openings):
        size = round(room.uniform(0.05, 0.1), 3)
        cornice: dict[str, Value] = {"low": round(plan.height - size, 3), "high": plan.height + 0.004, "depth": size}
        room.piece("cornice", room.new_instance(), "room_strip", shell | cornice, materials.draw("ceiling"))
    if plan.loft and plan.notch is None and room.chance(0.6):
        _add_beams(room)
    style = (round(room.uniform(0.05, 0.085), 3), int(room.rng.integers(1, 4)), int(room.rng.integers(1, 3)))
    frame = materials.draw("metal" if room.chance(0.25) else "wood" if room.chance(0.3) else "white")
    casing = round(room.uniform(0.06, 0.09), 3) if room.chance(0.5) else 0.0
    curtains = materials.draw("linen") if room.chance(0.4) else None
    for opening in plan.openings:
        _add_opening(room, opening, style, casing, frame, curtains)
    if plan.door is not None:
        _add_door(room, plan.door, materials.draw("wood" if room.chance(0.4) else "white"), trim)


def _wall_pose(plan: RoomPlan, edge: int, u: float, z: float, into: float = 0.0) -> tuple[float, float, float, float]:
    """Pose (x, y, z, yaw) of a fitting at `u` along a wall, `into` the room from its face."""
    starts, along, inward, _ = edge_frames(plan.corners)
    x, y = starts[edge] + u * along[edge] + into * inward[edge]
    return float(x), float(y), z, float(np.degrees(np.arctan2(along[edge, 1], along[edge, 0])))


def _add_beams(room: Furnisher) -> None:
    low, high = room.plan.bounds
    across = int(high[0] - low[0] > high[1] - low[1])  # the axis along which the beams run
    wide, tall, pitch = room.uniform(0.1, 0.2), room.uniform(0.14, 0.26), room.uniform(1.0, 1.7)
    count = int((high[1 - across] - low[1 - across]) / pitch)
    span, rows = high[across] - low[across], []
    for at in (np.arange(count) - (count - 1) / 2) * pitch:
        size, centre = np.empty(3), np.zeros(3)
        size[[across, 1 - across, 2]] = span + 0.02, wide, tall
        centre[1 - across], centre[2] = at, room.plan.height - tall / 2 + 0.01
        rows += [*size.tolist(), *centre.tolist()]
        box = upright_box(centre[:2], size[:2], 0.0, room.plan.height - tall, room.plan.height)
        room.blocks.append(box)
    params: dict[str, Value] = {"boxes": tuple(round(float(value), 4) for value in rows)}
    room.piece("beams", room.new_instance(), "blocks", params, room.materials.draw("wood"))


def _add_opening(
    room: Furnisher,
    opening: Opening,
    style: tuple[float, int, int],
    casing: float,
    frame: Material,
    curtains: Material | None,
) -> None:
    plan = room.plan
    wide, high = opening.stop - opening.start, opening.top - opening.sill
    middle = (opening.start + opening.stop) / 2
    reach = 0.45 if opening.kind == "window" else 1.0
    pose = _wall_pose(plan, opening.edge, middle, 0.0, reach / 2)
    room.kept_free.append(upright_box(pose[:2], (wide, reach), pose[3], opening.sill, opening.top))
    if opening.kind == "open":
        out = _wall_pose(plan, opening.edge, middle, 0.0, -plan.thickness - 1.25)
        size = upright_box((0, 0), (wide + 0.4, 2.5), out[3], 0.0, 0.0)
        block = (*(size[2:4] - size[:2]), 0.18, out[0], out[1], -0.12)
        slab = {"boxes": tuple(round(float(value), 4) for value in block)}
        room.piece("terrace", room.new_instance(), "blocks", slab, room.materials.draw("stone"))
        return
    bar, columns, rows = style
    doorway = opening.kind == "doorway"
    params: dict[str, Value] = {
        "width": round(wide, 4),
        "height": round(high, 4),
        "wall": plan.thickness,
        "bar": bar,
        "columns": 2 if doorway else max(1, min(columns, int(wide / 0.45))),
        "rows": 1 if doorway else max(1, min(rows, int(high / 0.5))),
        "sill": 0.0 if doorway else 0.05,
        "casing": casing,
    }
    at = _wall_pose(plan, opening.edge, middle, opening.sill)
    room.piece(opening.kind, room.new_instance(), "window_frame", params, frame, at)
    if curtains is not None:
        _add_curtains(room, opening, curtains)


def _add_curtains(room: Furnisher, opening: Opening, cloth: Material) -> None:
    plan = room.plan
    length = float(edge_frames(plan.corners)[3][opening.edge])
    rail = min(opening.top + room.uniform(0.06, 0.16), plan.height - 0.06)
    low = 0.02 if opening.sill < 0.7 or room.chance(0.6) else opening.sill - 0.15
    deep, panel = room.uniform(0.07, 0.1), min(room.uniform(0.3, 0.55), 0.4 * (opening.stop - opening.start) + 0.15)
    hung = []
    for u in (opening.start - 0.3 * panel, opening.stop + 0.3 * panel):
        pose = _wall_pose(plan, opening.edge, u, low, 0.06 + deep / 2)
        size = (panel * 1.3, deep)
        box = upright_box(pose[:2], size, pose[3], low, rail)
        if panel / 2 < u < length - panel / 2 and room.fits(box, 0.0, furniture=False):
            hung.append((pose, box))
    if not hung:
        return
    instance = room.new_instance()
    for pose, box in hung:
        seed = int(room.rng.integers(2**31))
        params = {
            "width": round(panel, 3),
            "height": round(rail - low, 3),
            "folds": max(3, round(panel / 0.09)),
            "depth": round(deep, 3),
            "seed": seed,
        }
        room.piece("curtain", instance, "curtain", params, cloth, pose)
        room.blocks.append(box)
    wide = min(opening.stop - opening.start + 1.2 * panel + 0.3, length - 0.1)
    middle = float(np.clip((opening.start + opening.stop) / 2, wide / 2 + 0.05, length - wide / 2 - 0.05))
    at = _wall_pose(plan, opening.edge, middle, rail + 0.012, 0.06 + deep / 2)
    rod = {"width": round(wide - 0.05, 3), "radius": 0.012}
    room.piece("curtain rod", instance, "curtain_rod", rod, room.materials.draw("metal"), at)


def _add_door(room: Furnisher, door: Opening, leaf: Material, trim: Material) -> None:
    wide, middle = door.stop - door.start, (door.start + door.stop) / 2
    instance, at = room.new_instance(), _wall_pose(room.plan, door.edge, middle, 0.0)
    panels = {"width": round(wide, 3), "height": door.top, "panels": int(room.rng.integers(0, 4))}
    room.piece("door", instance, "door_leaf", panels, leaf, at)
    room.piece("door handle", instance, "door_handle", {"width": round(wide, 3)}, room.materials.draw("metal"), at)
    casing = {"width": round(wide, 3), "height": door.top, "casing": 0.07}
    room.piece("door casing", instance, "door_casing", casing, trim, at)
    way = _wall_pose(room.plan, door.edge, middle, 0.0, 0.45)
    room.kept_free.append(upright_box(way[:2], (wide + 0.14, 0.9), way[3], 0.0, door.top + 0.07))


def _portals(plan: RoomPlan) -> list[Portal]:
    """One for each opening, just outside of the wall."""
    portals = []
    for opening in plan.openings:
        middle, high = (opening.start + opening.stop) / 2, opening.top - opening.sill
        x, y, z, yaw = _wall_pose(plan, opening.edge, middle, opening.sill + high / 2, -plan.thickness - 0.01)
        centre = (round(x, 4), round(y, 4), round(z, 4))
        portals.append(
            Portal(centre=centre, yaw=yaw + 90.0, size=(round(opening.stop - opening.start, 4), round(high, 4)))
        )
    return portals


# --- things of the catalogue -------------------------------------------------------------------------------------


class _Things:
    """Draws catalogue things and finds places for them: on furniture, in shelves, on rugs and on the floor."""

    def __init__(self, draws: SettingDraws) -> None:
        self._rng, self._draws = draws.rng("room things"), draws
        recipe, pools = draws.recipe, draws.pools
        objects, primitives = (
            int(self._rng.integers(low, high + 1)) for low, high in (recipe.objects.count, recipe.primitives.count)
        )
        decor = int(self._rng.integers(1, 6)) if pools.objects else 0
        self._wanted: list[tuple[Literal["object", "primitive"], Asset]] = [
            *(("object", asset) for asset in _some(pools.objects, objects + decor, self._rng)),
            *(("primitive", asset) for asset in _some(pools.primitives, primitives, self._rng)),
        ]
        self.most = len(self._wanted)
        self.assets: list[Asset] = []
        self.objects: list[Object] = []

    def place(self, room: Furnisher) -> None:
        """Put each thing where there is room for it; those that find none are left out."""
        for role, asset in self._wanted:
            assert asset.mesh is not None
            assert asset.footprint is not None
            found = self._on_furniture(room, asset) if self._rng.random() < 0.72 else self._on_floor(room, asset)
            if found is None:
                continue
            (x, y), height, scale = found
            instance = 2 + len(self.objects)
            material = draw_material(self._draws.recipe.materials, asset, self._draws.pools.surfaces, self._rng)
            thing = Object(
                name=f"{role}-{instance}",
                instance=instance,
                role=role,
                mesh=asset.mesh,
                material=_at_scale(material, scale),
                scale=round(scale, 6),
                yaw=round(float(self._rng.uniform(0, 360)), 6),
                position=(round(x, 6), round(y, 6)),
                footprint=asset.footprint,
            )
            self.assets.append(asset)
            self.objects.append(msgspec.structs.replace(thing, height=round(float(height), 6)) if height else thing)

    def _on_furniture(self, room: Furnisher, asset: Asset) -> tuple[tuple[float, float], float, float] | None:
        for _ in range(_PLACE_TRIES):
            if not room.places:
                return None
            number = int(self._rng.integers(len(room.places)))
            place = room.places[number]
            found = self._within(room, place, asset, _ON_TOP, 0.01)
            if found is not None:
                if place.shelf:
                    del room.places[number]
                return found
        return None

    def _within(
        self, room: Furnisher, place: RestingPlace, asset: Asset, sizes: tuple[float, float], gap: float
    ) -> tuple[tuple[float, float], float, float] | None:
        """Position, height and scale of a thing on a place that it fits; its box is then taken."""
        assert asset.footprint is not None
        radius, tall = asset.footprint.radius, asset.footprint.height
        largest = min(min(place.half) / radius, 0.97 * place.headroom / tall)
        low = min(sizes[0], largest)
        if low < 0.06:
            return None
        scale = float(self._rng.uniform(low, min(sizes[1], largest)))
        slack = np.maximum(np.asarray(place.half) - scale * radius, 0.0)
        at = np.asarray(place.centre) + turned(place.yaw) @ (self._rng.uniform(-1, 1, 2) * slack)
        side = 2 * scale * radius
        box = upright_box(at, (side, side), 0.0, place.height, place.height + scale * tall)
        if not place.shelf:
            if not room.fits(box, gap, furniture=False):
                return None
            room.blocks.append(box)
        return (float(at[0]), float(at[1])), place.height, scale

    def _on_floor(self, room: Furnisher, asset: Asset) -> tuple[tuple[float, float], float, float] | None:
        low, high = room.plan.bounds[:, :2]
        centre, half = (low + high) / 2, (high - low) / 2 - 0.02
        floor = RestingPlace((float(centre[0]), float(centre[1])), (float(half[0]), float(half[1])), 0.0, 0.0, 2.2)
        for _ in range(_PLACE_TRIES):
            if room.rugs and self._rng.random() < 0.3:
                found = self._within(room, room.rugs[0], asset, _ON_FLOOR, 0.03)
            else:
                # A thing stands on a rug or beside it, never on its edge.
                before = len(room.blocks)
                room.blocks += [_rug_box(rug) for rug in room.rugs]
                found = self._within(room, floor, asset, _ON_FLOOR, 0.03)
                del room.blocks[before : before + len(room.rugs)]
            if found is not None:
                return found
        return None

    def subject(self) -> tuple[np.ndarray, float] | None:
        """Middle and radius of the first thing."""
        if not self.objects:
            return None
        thing = self.objects[0]
        tall = thing.scale * thing.footprint.height
        low = thing.height if isinstance(thing.height, float) else 0.0
        return np.array([*thing.position, low + tall / 2]), max(thing.scale * thing.footprint.radius, tall / 2)


def _some(assets: Sequence[Asset], count: int, rng: np.random.Generator) -> list[Asset]:
    if not assets or not count:
        return []
    return [assets[number] for number in rng.choice(len(assets), size=count, replace=len(assets) < count)]


def _at_scale(material: Material, scale: float) -> Material:
    """Patterns of small things are fine ones."""
    if isinstance(material, Native) or not isinstance(material, Procedural | TextureSet):
        return material
    return msgspec.structs.replace(material, size=round(material.size * max(scale, _DETAIL), 6))


def _rug_box(rug: RestingPlace) -> np.ndarray:
    size = 2.0 * (np.asarray(rug.half) + 0.02)
    return upright_box(rug.centre, size, rug.yaw, 0.0, rug.height)


# --- the camera --------------------------------------------------------------------------------------------------


def _taken(room: Furnisher) -> TakenSpace:
    boxes = np.reshape(room.blocks, (-1, 6))
    if room.plan.notch is not None:
        x0, y0, x1, y1 = room.plan.notch
        boxes = np.concatenate([boxes, [[x0, y0, x1, y1, 0.0, room.plan.height]]])
    low, high = boxes[:, [0, 1, 4]], boxes[:, [2, 3, 5]]
    return TakenSpace((low + high) / 2, (high - low) / 2, np.zeros(len(boxes)), bounds=room.plan.bounds)


def _viewpoints(
    plan: RoomPlan,
    taken: TakenSpace,
    subject: tuple[np.ndarray, float] | None,
    recipe: Recipe,
    rng: np.random.Generator,
    count: int,
) -> Viewpoints:
    """Eyes of people who stand, sit or kneel in the room and look at the subject, or across the room."""
    low, high = plan.bounds
    tries = 16 * count
    eyes = rng.uniform(low + 0.1, high - 0.1, (tries, 3))
    eyes[:, 2] = rng.triangular(0.5, 1.5, min(2.0, plan.height - 0.3), tries)
    targets = 0.45 * rng.uniform(low, high, (tries, 3))
    targets[:, 2] = rng.uniform(0.5, 1.4, tries)
    good = taken.clearance(eyes) > recipe.placement.camera_margin + 0.03
    if subject is None:
        good &= np.linalg.norm(eyes[:, :2] - targets[:, :2], axis=1) > 0.45 * np.linalg.norm(high[:2] - low[:2])
    else:
        centre, radius = subject
        distance = np.linalg.norm(eyes - centre, axis=1)
        wanted = radius + np.exp(rng.uniform(np.log(0.7), np.log(4.5), tries))
        eyes = np.where((distance > wanted)[:, None], centre + (eyes - centre) * (wanted / distance)[:, None], eyes)
        eyes[:, 2] = np.clip(eyes[:, 2], 0.5, min(2.0, plan.height - 0.2))
        distance = np.linalg.norm(eyes - centre, axis=1)
        targets = centre + rng.normal(0.0, 0.1, (tries, 3)) * distance[:, None]
        good = (taken.clearance(eyes) > recipe.placement.camera_margin + 0.03) & (distance > radius + 0.3)
        good &= np.abs(eyes[:, 2] - targets[:, 2]) < _STEEPEST * np.linalg.norm((eyes - targets)[:, :2], axis=1)
    order = np.argsort(~good, kind="stable")[:count]
    narrow, wide = support(recipe.camera.fov)
    return Viewpoints(eyes[order], targets[order], draw_many(_FOV if narrow == wide else recipe.camera.fov, rng, count))
