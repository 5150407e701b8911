"""The catalogue: every asset that scenes may be made of, with licence, author, split and what was measured of it.

A catalogue is a value. Its digest covers the assets and nothing that depends on the machine (roots, problems), so
two machines that hold the same assets sample the same scenes. The table, and the files of a provider, are in a folder
or in a bucket.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import UNSET, Meta, UnsetType

from manifests.errors import SpecError
from manifests.files import atomic_file
from manifests.object_path import ObjectPath, Place, place
from manifests.store.tables import read_parquet
from manifests.untrusted import decode_json
from scenes.licences import LicencePolicy
from scenes.physics.convex_parts import CollisionShape
from scenes.spec import Footprint, Material, Source, SpecData, Unit

Kind = Literal["mesh", "material", "environment"]
Split = Literal["train", "val", "test", "all"]

CATALOGUE_VERSION = 1
DEFAULT_POLICY = LicencePolicy()
_VAL, _TEST = 0.1, 0.1
# Chosen so that of the eight maps in bpy one place falls to val (courtyard), one to test (venice_sunset), six to train,
# and that every large family of meshes and materials comes near a tenth in each.
_SALT = b"lightloom-split-813"


class Asset(SpecData, frozen=True, kw_only=True):
    """One asset. Exactly one of `mesh`, `material`, `environment` is set, as `kind` says.

    `licence` is an SPDX id (see `scenes/licences.py`) or "unknown". `place` groups environments that show the same
    place: all of them share a split. `split` "all" is for the plain primitives, which every split may use. `roles`
    says what a mesh ("object", "primitive") or a material ("object", "ground") may be used for; "any" is all.
    `score` in [0, 1] and `footprint` come from measuring: a mesh without a footprint, and any asset of score 0,
    is never sampled. `collision` is the shape of a mesh file for physics; without one it stays out of heaps and stacks.
    Those of the built-in meshes come with the package (`scenes.meshes.collision_shapes`).
    """

    uid: Annotated[str, Meta(min_length=1)]
    kind: Kind
    provider: str
    licence: str
    author: str
    url: str = ""
    sha256: str = ""
    place: str = ""
    split: Split
    roles: tuple[str, ...] = ("any",)
    mesh: Source | None = None
    material: Material | None = None
    environment: Source | None = None
    footprint: Footprint | None = None
    score: Unit = 1.0
    flags: tuple[str, ...] = ()
    collision: CollisionShape | UnsetType = UNSET

    def __post_init__(self) -> None:
        given = [kind for kind in get_args(Kind) if getattr(self, kind) is not None]
        if given != [self.kind]:
            raise SpecError(f"kind is {self.kind} but it holds {given or 'nothing'}", where=f"asset {self.uid}")

    @property
    def ready(self) -> bool:
        """Whether the asset may be sampled as far as measuring is concerned."""
        return self.score > 0 and (self.kind != "mesh" or self.footprint is not None)


class AssetProblem(SpecData, frozen=True, kw_only=True):
    """Something a provider found but could not take: the path relative to the provider's root, and why."""

    provider: str
    path: str
    reason: str


class MeshMeasurement(SpecData, frozen=True, kw_only=True):
    """What scoring found out about a mesh file. A rejected one has score 0 and says why in its flags."""

    score: Unit
    footprint: Footprint | None = None
    flags: tuple[str, ...] = ()
    collision: CollisionShape | UnsetType = UNSET


def assign_split(key: str) -> Literal["train", "val", "test"]:
    """Split of everything that shares `key` (a uid, a content hash or a place): 80 % train, 10 % val, 10 % test."""
    value = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8, key=_SALT).digest(), "big") / 2**64
    if value < _VAL:
        return "val"
    return "test" if value < _VAL + _TEST else "train"


def installed_roots() -> dict[str, Path]:
    """Roots that come with the installation: "bpy", Blender's data folder (found without importing bpy)."""
    found = importlib.util.find_spec("bpy")
    if found is None or found.origin is None:
        return {}
    folders = sorted(Path(found.origin).parent.glob("[0-9]*.[0-9]*/datafiles"))
    return {"bpy": folders[-1]} if folders else {}


class Catalogue:
    """Assets in order of uid; `roots` says where each provider's files lie: a folder of this machine, or a bucket.

    Raises SpecError when two different assets share a uid.
    """

    def __init__(
        self, assets: Iterable[Asset], roots: Mapping[str, Place] | None = None, problems: Iterable[AssetProblem] = ()
    ) -> None:
        by_uid: dict[str, Asset] = {}
        for asset in assets:
            if by_uid.setdefault(asset.uid, asset) != asset:
                raise SpecError(f"two different assets have the uid {asset.uid}", "give one folder another name")
        self.assets: tuple[Asset, ...] = tuple(by_uid[uid] for uid in sorted(by_uid))
        self.roots: dict[str, Place] = dict(roots or {})
        self.problems: tuple[AssetProblem, ...] = tuple(problems)
        self._by_uid = by_uid
        self._selected: dict[tuple[object, ...], tuple[Asset, ...]] = {}

    def __len__(self) -> int:
        """Return the number of assets."""
        return len(self.assets)

    def __getitem__(self, uid: str) -> Asset:
        """Asset of that uid; SpecError if there is none."""
        try:
            return self._by_uid[uid]
        except KeyError:
            raise SpecError(f"no asset {uid} in the catalogue", "`lightloom assets list` shows what there is") from None

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over all assets; roots and problems do not count."""
        total = hashlib.sha256()
        for asset in self.assets:
            total.update(msgspec.json.encode(asset, order="deterministic") + b"\n")
        return total.hexdigest()

    def select(
        self, kind: Kind, split: Split, policy: LicencePolicy = DEFAULT_POLICY, role: str | None = None
    ) -> tuple[Asset, ...]:
        """Assets that may be sampled, in order of uid: ready, of that kind, split and role, and allowed by `policy`.

        Split "all" takes every split; assets of split "all" belong to each. The answer is cached.
        """
        key = (kind, split, policy, role)
        if key not in self._selected:
            self._selected[key] = tuple(
                asset
                for asset in self.assets
                if asset.kind == kind
                and asset.ready
                and (split == "all" or asset.split in (split, "all"))
                and (role is None or role in asset.roles or "any" in asset.roles)
                and policy.allows(asset.licence)
            )
        return self._selected[key]

    def merge(self, *others: Catalogue) -> Catalogue:
        """All assets, roots and problems together; SpecError where they contradict each other."""
        parts = (self, *others)
        roots: dict[str, Place] = {}
        for part in parts:
            for provider, root in part.roots.items():
                if roots.setdefault(provider, root) != root:
                    raise SpecError(f"provider {provider} has two roots: {roots[provider]} and {root}")
        return Catalogue(
            (asset for part in parts for asset in part.assets),
            roots,
            (problem for part in parts for problem in part.problems),
        )

    def with_scores(self, measured: Mapping[str, MeshMeasurement]) -> Catalogue:
        """Catalogue with the measured results, by uid, put into the assets; the flag "unscored" goes.

        Raises SpecError for a uid that is not in the catalogue.
        """
        for uid in measured:
            self[uid]
        return Catalogue(
            (_scored(asset, measured[asset.uid]) if asset.uid in measured else asset for asset in self.assets),
            self.roots,
            self.problems,
        )

    def save(self, path: Place) -> None:
        """Write the catalogue as Parquet, whole or not at all; roots and problems go into the file's metadata."""
        notes = {
            "version": CATALOGUE_VERSION,
            "digest": self.digest,
            "roots": {provider: str(root) for provider, root in sorted(self.roots.items()) if provider != "bpy"},
            "problems": self.problems,
        }
        table = pa.Table.from_pylist([_to_row(asset) for asset in self.assets], schema=_SCHEMA)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            pq.write_table(table.replace_schema_metadata({"lightloom": msgspec.json.encode(notes)}), file)

    @staticmethod
    def load(path: Place, roots: Mapping[str, Place] | None = None) -> Catalogue:
        """Read what `save` wrote. `roots` overrides where files lie; SpecError names what does not fit.

        What lies beside a table in a bucket under a provider's name are its files, whatever folder they came from.
        """
        path = place(path)
        try:
            table = read_parquet(path)
            notes = decode_json((table.schema.metadata or {})[b"lightloom"], _Notes)
            assets = [_from_row(row) for row in table.to_pylist()]
        except (OSError, pa.ArrowException, KeyError, msgspec.MsgspecError) as error:
            raise SpecError(f"{path} is not a catalogue: {error}", "`lightloom assets build` makes one") from None
        if notes.version != CATALOGUE_VERSION:
            raise SpecError(
                f"catalogue of version {notes.version}", f"this release reads {CATALOGUE_VERSION}", where=path
            )
        given = dict(roots or {})
        stored = {
            name: _root(place(root), path.parent / name) for name, root in notes.roots.items() if name not in given
        }
        catalogue = Catalogue(assets, {**installed_roots(), **stored, **given}, notes.problems)
        if catalogue.digest != notes.digest:
            raise SpecError("its assets do not match its digest", "build it again", where=path)
        return catalogue


def _root(stored: Place, beside: Place) -> Place:
    return beside if isinstance(beside, ObjectPath) and isinstance(stored, Path) and beside.is_dir() else stored


class _Notes(SpecData, frozen=True, kw_only=True):
    version: int
    digest: str
    roots: dict[str, str]
    problems: tuple[AssetProblem, ...]


_JSON_COLUMNS = ("mesh", "material", "environment", "footprint", "collision")
_LIST_COLUMNS = ("roles", "flags")


def _column_type(name: str) -> pa.DataType:
    if name in _LIST_COLUMNS:
        return pa.list_(pa.string())
    return pa.float64() if name == "score" else pa.string()


_SCHEMA = pa.schema([(name, _column_type(name)) for name in Asset.__struct_fields__])


def _to_row(asset: Asset) -> dict[str, object]:
    row = msgspec.structs.asdict(asset)
    for name in _JSON_COLUMNS:
        if row[name] is UNSET:
            row[name] = None
        elif row[name] is not None:
            row[name] = msgspec.json.encode(row[name], order="deterministic").decode()
    return row


def _from_row(row: dict[str, object]) -> Asset:
    plain = {name: value for name, value in row.items() if value is not None}
    for name in _JSON_COLUMNS:
        if name in plain:
            plain[name] = decode_json(str(plain[name]), dict)
    return msgspec.convert(plain, Asset)


def _scored(asset: Asset, measured: MeshMeasurement) -> Asset:
    kept = tuple(flag for flag in asset.flags if flag != "unscored" and flag not in measured.flags)
    return msgspec.structs.replace(
        asset,
        score=measured.score,
        footprint=measured.footprint,
        flags=kept + measured.flags,
        collision=measured.collision,
    )
