"""Furniture in a room: what kinds of rooms hold, and where it stands so that nothing is in anything else's way.

Everything counts as the upright box around it. Sizes are metres, yaws degrees; a thing's front is its own +y.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec import UNSET

from scenes.settings.furniture_meshes import shelf_grid, shelf_is_free
from scenes.settings.interior_materials import RoomMaterials
from scenes.settings.interior_meshes import edge_frames
from scenes.settings.interior_plan import RoomPlan
from scenes.spec import Builtin, Material, SettingPiece, Value

Numbers = Sequence[float] | np.ndarray

_TRIES = 14
_GAP = 0.02

# The role of each part's material (`RoomMaterials`); the first part names the thing.
_ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    "table": {"top": ("wood", "wood", "lacquer", "stone"), "legs": ("wood", "metal", "lacquer")},
    "round_table": {"top": ("wood", "lacquer", "stone"), "legs": ("wood", "metal", "lacquer")},
    "chair": {"frame": ("wood", "wood", "metal", "lacquer"), "seat": ("wood", "cloth", "lacquer")},
    "sofa": {"cloth": ("cloth",), "cushions": ("cloth",), "pillows": ("linen", "art"), "feet": ("wood", "metal")},
    "bed": {
        "frame": ("wood", "lacquer", "cloth"),
        "sheet": ("white",),
        "cover": ("linen", "cloth"),
        "pillows": ("white", "linen"),
    },
    "cabinet": {
        "body": ("wood", "lacquer"),
        "top": ("wood", "lacquer", "stone"),
        "fronts": ("wood", "lacquer", "lacquer"),
        "handles": ("metal",),
    },
    "bookshelf": {"body": ("wood", "lacquer"), "books0": ("book",), "books1": ("book",), "books2": ("book",)},
    "lamp": {"metal": ("metal", "wood", "pot"), "shade": ("white", "linen")},
    "pendant": {"metal": ("black", "metal"), "shade": ("white", "lacquer", "metal")},
    "plant": {"pot": ("pot",), "soil": ("soil",), "leaves": ("leaf",)},
    "rug": {"field": ("carpet",), "border": ("linen",)},
    "round_rug": {"field": ("carpet",)},
    "picture": {"frame": ("wood", "black", "white", "metal"), "mount": ("white",), "image": ("art",)},
    "screen": {"body": ("black",), "glass": ("black",)},
    "plinth": {"body": ("white", "white", "lacquer", "stone")},
    "crate": {"body": ("wood",)},
}


@dataclass(frozen=True)
class RestingPlace:
    """A level rectangle that things can stand on: its middle, half sizes, turn, height and the room above it.

    `shelf` is for one thing only, which stands within the box of something else.
    """

    centre: tuple[float, float]
    half: tuple[float, float]
    yaw: float
    height: float
    headroom: float
    shelf: bool = False


@dataclass(eq=False)
class Furnisher:
    """Fills a room: collects pieces, the boxes that are taken, and places on which things can stand.

    Attributes:
        blocks: x0, y0, x1, y1, z0, z1 of everything that stands or hangs in the room.
        kept_free: boxes that furniture keeps out of, such as the light of a window or the way through a door.
    """

    plan: RoomPlan
    materials: RoomMaterials
    rng: np.random.Generator
    instance: int
    pieces: list[SettingPiece] = field(default_factory=list)
    blocks: list[np.ndarray] = field(default_factory=list)
    kept_free: list[np.ndarray] = field(default_factory=list)
    places: list[RestingPlace] = field(default_factory=list)
    rugs: list[RestingPlace] = field(default_factory=list)

    # --- pieces --------------------------------------------------------------------------------------------------

    def new_instance(self) -> int:
        """Index of the next thing."""
        self.instance += 1
        return self.instance - 1

    def piece(
        self,
        name: str,
        instance: int,
        generator: str,
        params: Mapping[str, Value],
        material: Material,
        pose: Numbers | None = None,
    ) -> None:
        """Add a piece, at a pose (x, y, z, yaw) if it is not made in place."""
        self.pieces.append(
            SettingPiece(
                name=name,
                instance=instance,
                mesh=Builtin(uid=f"room/{generator}", generator=generator, params=dict(params)),
                material=material,
                copies=UNSET
                if pose is None
                else Builtin(
                    uid="room/pose", generator="fixed_poses", params={"poses": tuple(round(float(v), 4) for v in pose)}
                ),
            )
        )

    def add(self, style: str, size: Numbers, pose: Numbers, **looks: Material) -> None:
        """Add furniture that fills a box of `size` at a pose (x, y, z, yaw); `looks` gives parts their materials."""
        width, depth, height = (round(float(side), 3) for side in size)
        x, y, z, yaw = pose
        instance, seed = self.new_instance(), int(self.rng.integers(2**31))
        for part, roles in _ROLES[style].items():
            role = roles[int(self.rng.integers(len(roles)))]
            params: dict[str, Value] = {
                "style": style,
                "part": part,
                "width": width,
                "depth": depth,
                "height": height,
                "seed": seed,
            }
            material = looks.get(part) or self.materials.draw(role)
            self.piece(f"{style} {part}", instance, "furniture", params, material, pose)
        if style in ("rug", "round_rug"):
            inner = 1.0 if style == "rug" else 0.7
            half = (inner * width / 2 - 0.02, inner * depth / 2 - 0.02)
            self.rugs.append(RestingPlace((float(x), float(y)), half, float(yaw), float(z) + height, 2.0))
            return
        self.blocks.append(upright_box((x, y), (width, depth), yaw, z, z + height))
        self._offer(style, (width, depth, height), (x, y, z, yaw), seed)

    def _offer(self, style: str, size: tuple[float, float, float], pose: tuple[float, ...], seed: int) -> None:
        """Note where things can stand on what has just been added."""
        width, depth, height = size
        x, y, z, yaw = pose
        if style in ("table", "cabinet", "plinth", "round_table") and z + height < 1.35:
            inner = 0.7 if style == "round_table" else 1.0
            half = (inner * width / 2 - 0.015, inner * depth / 2 - 0.015)
            self.places.append(
                RestingPlace((float(x), float(y)), half, float(yaw), float(z) + height, self.plan.height - z - height)
            )
        if style == "bookshelf":
            columns, boards = shelf_grid(width, height)
            rises = np.diff([*boards, height]) - 0.03
            turn = turned(yaw)
            for column, middle in enumerate(columns):
                for row, board in enumerate(boards):
                    if shelf_is_free(seed, column, row):
                        at = np.array([x, y]) + turn @ np.array([middle, 0.01])
                        half = (width / len(columns) / 2 - 0.03, depth / 2 - 0.02)
                        place = RestingPlace(
                            (float(at[0]), float(at[1])), half, yaw, z + float(board), float(rises[row]), shelf=True
                        )
                        self.places.append(place)

    # --- where things fit ----------------------------------------------------------------------------------------

    def fits(self, box: np.ndarray, gap: float = _GAP, furniture: bool = True) -> bool:
        """Whether a box lies within the walls and clear of all others; furniture also keeps ways and windows free."""
        if not self.plan.holds(box, 0.0) or box[5] > self.plan.height + 1e-9:
            return False
        return not any(overlap(box, other, gap) for other in (*self.blocks, *(self.kept_free if furniture else ())))

    def against_wall(
        self, style: str, size: Numbers, z: float = 0.0, gap: float = 0.005, **looks: Material
    ) -> np.ndarray | None:
        """Put furniture with its back to a wall where it fits; its pose (x, y, z, yaw), or None."""
        starts, along, inward, lengths = edge_frames(self.plan.corners)
        width, depth, height = size
        for _ in range(_TRIES):
            edge = int(self.rng.choice(len(lengths), p=lengths / lengths.sum()))
            if lengths[edge] < width + 0.06:
                continue
            u = self.rng.uniform(width / 2 + 0.03, lengths[edge] - width / 2 - 0.03)
            middle = starts[edge] + u * along[edge] + (depth / 2 + gap) * inward[edge]
            yaw = float(np.degrees(np.arctan2(along[edge, 1], along[edge, 0])))
            if self.fits(upright_box(middle, (width, depth), yaw, z, z + height)):
                pose = np.array([*middle, z, yaw]).round(4)
                self.add(style, size, pose, **looks)
                return pose
        return None

    def at(self, style: str, size: Numbers, pose: Numbers, gap: float = _GAP, **looks: Material) -> bool:
        """Put furniture at a pose (x, y, z, yaw) if it fits there."""
        x, y, z, yaw = (float(value) for value in pose)
        if not self.fits(upright_box((x, y), (size[0], size[1]), yaw, z, z + size[2]), gap):
            return False
        self.add(style, size, np.array([x, y, z, yaw]).round(4), **looks)
        return True

    def anywhere(self, style: str, size: Numbers, turns: bool = True, **looks: Material) -> np.ndarray | None:
        """Put furniture on the floor where it fits; its pose, or None."""
        low, high = self.plan.bounds[:, :2]
        for _ in range(_TRIES):
            yaw = float(self.rng.uniform(0, 360)) if turns else 90.0 * float(self.rng.integers(4))
            pose = np.array([*self.rng.uniform(low, high), 0.0, yaw])
            if self.at(style, size, pose, 0.1, **looks):
                return pose
        return None

    def on(self, style: str, size: Numbers, pose: Numbers, height: float, side: float = 0.0) -> None:
        """Put a lamp or a screen on furniture at `pose`, moved sideways along it, if there is room."""
        x, y = np.asarray(pose[:2]) + turned(pose[3]) @ np.array([side, 0.0])
        self.at(style, size, (x, y, height, pose[3]), 0.0)

    def uniform(self, low: float, high: float) -> float:
        """One number."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return bool(self.rng.random() < probability)


def turned(yaw: float) -> np.ndarray:
    """Rotation (2, 2) in plan by degrees."""
    cosine, sine = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    return np.array([[cosine, -sine], [sine, cosine]])


def upright_box(centre: Numbers, size: Numbers, yaw: float, low: float, high: float) -> np.ndarray:
    """x0, y0, x1, y1, z0, z1 around a rectangle of `size` that is turned about its centre."""
    half = np.abs(turned(yaw)) @ (np.asarray(size[:2], float) / 2)
    middle = np.asarray(centre, float)
    return np.concatenate([middle - half, middle + half, [low, high]])


def overlap(box: np.ndarray, other: np.ndarray, gap: float) -> bool:
    """Whether two boxes come nearer than `gap` sideways while they share some height."""
    beside = (box[:2] >= other[2:4] + gap - 1e-9) | (box[2:4] <= other[:2] - gap + 1e-9)
    return not (beside.any() or box[4] >= other[5] - 1e-9 or box[5] <= other[4] + 1e-9)


# --- rooms -------------------------------------------------------------------------------------------------------


def living(room: Furnisher) -> None:
    """Sofa, low table on a rug, armchairs, screen on a sideboard, shelves."""
    size = (room.uniform(1.5, 2.4), room.uniform(0.82, 0.98), room.uniform(0.68, 0.88))
    cloth = room.materials.draw("cloth")
    pose = room.against_wall("sofa", size, gap=room.uniform(0.02, 0.1), cloth=cloth, cushions=cloth)
    if pose is not None:
        ahead = turned(pose[3]) @ np.array([0.0, size[1] / 2 + room.uniform(0.6, 0.8)])
        round_top = room.chance(0.3)
        wide = room.uniform(0.7, 1.2)
        table = (0.8 * wide if round_top else wide, 0.8 * wide if round_top else room.uniform(0.45, 0.65))
        middle = pose[:2] + ahead
        room.at("round_table" if round_top else "table", (*table, room.uniform(0.34, 0.46)), (*middle, 0.0, pose[3]))
        _rug(room, middle, pose[3], (size[0] + room.uniform(-0.3, 0.5), room.uniform(1.3, 1.9)))
        for _ in range(int(room.rng.integers(0, 3))):
            side = room.rng.choice([-1.0, 1.0])
            seat = middle + turned(pose[3]) @ np.array([side * room.uniform(1.1, 1.5), room.uniform(0.3, 0.9)])
            room.at(
                "sofa",
                (room.uniform(0.75, 0.95), 0.85, room.uniform(0.72, 0.95)),
                (*seat, 0.0, pose[3] + 90 * side + room.uniform(-15, 15)),
            )
    wide = room.uniform(1.1, 1.9)
    low = (wide, room.uniform(0.36, 0.46), room.uniform(0.42, 0.6))
    board = room.against_wall("cabinet", low)
    if board is not None and room.chance(0.6):
        room.on("screen", (min(0.85 * wide, 1.3), 0.2, 0.55 * min(0.85 * wide, 1.3) + 0.08), board, low[2])
    _shelves(room, int(room.rng.integers(0, 3)))


def dining(room: Furnisher) -> None:
    """A table in the middle with chairs around it, a sideboard."""
    _table_with_chairs(room)
    size = (room.uniform(1.0, 1.9), room.uniform(0.4, 0.5), room.uniform(0.75, 0.95))
    pose = room.against_wall("cabinet", size)
    if pose is not None and room.chance(0.5):
        room.on("lamp", (0.28, 0.28, room.uniform(0.4, 0.6)), pose, size[2], 0.35 * size[0])
    _shelves(room, int(room.rng.integers(0, 2)))


def _table_with_chairs(room: Furnisher) -> None:
    high, round_top = room.uniform(0.72, 0.77), room.chance(0.3)
    wide = room.uniform(0.9, 1.3) if round_top else room.uniform(1.2, 2.2)
    deep = wide if round_top else room.uniform(0.75, 1.0)
    yaw = 90.0 * int(room.rng.integers(2))
    for _ in range(_TRIES):
        middle = 0.3 * room.rng.uniform(*room.plan.bounds[:, :2])
        clear = upright_box(middle, (wide + 0.9, deep + 0.9), yaw, 0.0, high)
        if room.fits(clear) and room.at(
            "round_table" if round_top else "table", (wide, deep, high), (*middle, 0.0, yaw)
        ):
            break
    else:
        return
    own = room.blocks.pop()  # chairs reach under the table, so its box counts again when they stand
    seat = (room.uniform(0.42, 0.5), room.uniform(0.46, 0.54), room.uniform(0.8, 1.0))
    frame, cushion = (room.materials.draw(role) for role in ("wood" if room.chance(0.6) else "metal", "cloth"))
    spots = [(0.0, 1.0), (0.0, -1.0)]
    if not round_top:
        per_side = 3 if wide > 1.9 else 2 if wide > 1.35 else 1
        shift = (np.arange(per_side) - (per_side - 1) / 2) * 0.62
        spots = [(float(x), side) for x in shift for side in (1.0, -1.0)]
    for x, side in spots:
        if room.chance(0.12):
            continue
        out = deep / 2 + seat[1] / 2 + room.uniform(-0.1, 0.16)
        at = middle + turned(yaw) @ np.array([x, side * out])
        room.at(
            "chair",
            seat,
            (*at, 0.0, yaw + (180.0 if side > 0 else 0.0) + room.uniform(-6, 6)),
            frame=frame,
            seat=cushion,
        )
    for side in (1.0, -1.0):
        if room.chance(0.5):
            at = middle + turned(yaw) @ np.array([side * (wide / 2 + seat[1] / 2 + room.uniform(0.04, 0.2)), 0.0])
            room.at("chair", seat, (*at, 0.0, yaw + 90.0 * side + room.uniform(-6, 6)), frame=frame, seat=cushion)
    room.blocks.append(own)
    _rug(room, middle, yaw, (wide + 1.1, deep + 1.1), 0.3)
    if room.chance(0.6):
        tall = room.plan.height - room.uniform(1.45, 1.6)
        across = room.uniform(0.25, 0.55)
        room.at("pendant", (across, across, tall), (*middle, room.plan.height - tall, 0.0), 0.0)


def bedroom(room: Furnisher) -> None:
    """Bed with nightstands, wardrobe, chest, rug."""
    wide = room.uniform(0.95, 1.9)
    size = (wide, room.uniform(2.0, 2.2), room.uniform(0.7, 1.2))
    pose = room.against_wall("bed", size)
    if pose is not None:
        wood = room.materials.draw("wood" if room.chance(0.6) else "lacquer")
        stand = (room.uniform(0.38, 0.55), room.uniform(0.36, 0.44), room.uniform(0.42, 0.58))
        for side in (-1.0, 1.0):
            offset = np.array([side * (wide / 2 + stand[0] / 2 + 0.06), (stand[1] - size[1]) / 2 + 0.01])
            at = pose[:2] + turned(pose[3]) @ offset
            placed = room.at("cabinet", stand, (*at, 0.0, pose[3]), body=wood, fronts=wood, top=wood)
            if placed and room.chance(0.6):
                room.on("lamp", (0.24, 0.24, room.uniform(0.35, 0.5)), (*at, 0.0, pose[3]), stand[2])
        _rug(room, pose[:2] + turned(pose[3]) @ np.array([0.0, 0.5]), pose[3], (wide + 1.2, 1.6))
    room.against_wall(
        "cabinet",
        (room.uniform(0.9, 2.0), room.uniform(0.55, 0.62), min(room.uniform(1.9, 2.2), room.plan.height - 0.1)),
    )
    room.against_wall("cabinet", (room.uniform(0.7, 1.3), 0.45, room.uniform(0.7, 1.0)))
    if room.chance(0.5):
        room.against_wall("chair", (0.45, 0.5, 0.88), gap=0.1)


def study(room: Furnisher) -> None:
    """Desk with a chair and a screen, shelves, an armchair."""
    size = (room.uniform(1.1, 1.8), room.uniform(0.6, 0.8), room.uniform(0.71, 0.76))
    pose = room.against_wall("table", size)
    if pose is not None:
        out = turned(pose[3]) @ np.array([room.uniform(-0.15, 0.15), size[1] / 2 + room.uniform(0.3, 0.5)])
        room.at("chair", (0.46, 0.5, 0.9), (*(pose[:2] + out), 0.0, pose[3] + 180 + room.uniform(-25, 25)))
        if room.chance(0.6):
            room.on("screen", (0.55, 0.18, 0.42), pose, size[2])
        if room.chance(0.5):
            room.on("lamp", (0.2, 0.2, 0.45), pose, size[2], 0.38 * size[0])
    _shelves(room, int(room.rng.integers(1, 4)))
    room.anywhere("sofa", (room.uniform(0.75, 0.9), 0.85, room.uniform(0.75, 0.95)))
    if room.chance(0.5):
        room.anywhere("crate", (room.uniform(0.35, 0.5), room.uniform(0.28, 0.4), room.uniform(0.24, 0.34)))
    _rug(room, room.rng.uniform(-0.4, 0.4, 2), 0.0, (room.uniform(1.2, 2.0), room.uniform(1.0, 1.6)))


def kitchen(room: Furnisher) -> None:
    """A counter with wall cabinets above it, a tall cupboard, a table with chairs."""
    front, top = room.materials.draw("lacquer" if room.chance(0.6) else "wood"), room.materials.draw("stone")
    lengths = np.sort(edge_frames(room.plan.corners)[3])
    for wide in (min(float(lengths[-1]) - 0.8, 3.2), 1.8, 1.2):
        pose = room.against_wall("cabinet", (wide, 0.62, 0.9), body=front, fronts=front, top=top)
        if pose is not None:
            back = turned(pose[3]) @ np.array([0.0, -0.14])
            room.at(
                "cabinet",
                (wide, 0.34, room.uniform(0.5, 0.7)),
                (*(pose[:2] + back), 1.45, pose[3]),
                0.0,
                body=front,
                fronts=front,
                top=front,
            )
            break
    room.against_wall("cabinet", (0.6, 0.62, min(2.1, room.plan.height - 0.1)), body=front, fronts=front, top=front)
    _table_with_chairs(room)


def gallery(room: Furnisher) -> None:
    """Plinths, a bench, many pictures."""
    body = room.materials.draw("white")
    for _ in range(int(room.rng.integers(2, 6))):
        side = room.uniform(0.3, 0.6)
        room.anywhere("plinth", (side, side, room.uniform(0.5, 1.1)), turns=room.chance(0.3), body=body)
    if room.chance(0.6):
        room.anywhere("table", (room.uniform(1.0, 1.6), 0.4, 0.44), turns=False)


def spare(room: Furnisher) -> None:
    """A room that is nearly empty: a table or chest, crates, a chair."""
    if room.chance(0.6):
        room.anywhere("table", (room.uniform(0.9, 1.5), room.uniform(0.6, 0.8), room.uniform(0.55, 0.8)))
    for _ in range(int(room.rng.integers(0, 3))):
        room.anywhere("crate", (room.uniform(0.35, 0.6), room.uniform(0.3, 0.45), room.uniform(0.24, 0.4)))
    if room.chance(0.6):
        room.anywhere("chair", (0.45, 0.5, room.uniform(0.82, 0.98)))


def _shelves(room: Furnisher, count: int) -> None:
    for _ in range(count):
        wide, deep = room.uniform(0.7, 1.8), room.uniform(0.26, 0.36)
        room.against_wall("bookshelf", (wide, deep, min(room.uniform(0.8, 2.2), room.plan.height - 0.15)))


def _rug(room: Furnisher, middle: np.ndarray, yaw: float, size: tuple[float, float], chance: float = 0.6) -> None:
    """Lay a rug under what stands there, as large as fits within the walls; never two on each other."""
    if not room.chance(chance) or room.rugs:
        return
    style = "round_rug" if room.chance(0.2) else "rug"
    for factor in (1.0, 0.85, 0.7):
        wide, deep = size[0] * factor, size[1] * factor
        deep = wide if style == "round_rug" else deep
        if room.plan.holds(upright_box(middle, (wide, deep), yaw, 0.0, 0.01), 0.05):
            room.add(style, (wide, deep, room.uniform(0.008, 0.016)), (*np.round(middle, 4), 0.0, yaw))
            return


ROOMS = (
    *((living, 0.27), (dining, 0.14), (bedroom, 0.2), (study, 0.14)),
    *((kitchen, 0.09), (gallery, 0.09), (spare, 0.07)),
)


def furnish(room: Furnisher) -> None:
    """Furnish as one kind of room, a loft as two; then plants, lamps and pictures."""
    kinds, weights = zip(*ROOMS, strict=True)
    for number in room.rng.choice(len(kinds), size=2 if room.plan.loft else 1, replace=False, p=weights):
        kinds[number](room)
    for _ in range(int(room.rng.integers(0, 3))):
        wide = room.uniform(0.3, 0.75)
        room.against_wall("plant", (wide, wide, wide * room.uniform(1.5, 2.4)), gap=0.03)
    if room.chance(0.35):
        room.against_wall("lamp", (0.38, 0.38, room.uniform(1.4, 1.75)), gap=0.04)
    for _ in range(int(room.rng.integers(0, 5))):
        wide, deep = room.uniform(0.25, 1.0), room.uniform(0.02, 0.04)
        high = wide * room.uniform(0.65, 1.5)
        low = room.uniform(1.5, 1.65) - high / 2
        if low > 0.9 and low + high < room.plan.height - 0.15:
            looks = {"image": room.materials.draw("mirror")} if room.chance(0.12) else {}
            room.against_wall("picture", (wide, deep, high), z=low, gap=0.002, **looks)
