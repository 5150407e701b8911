"""`dataset.json`: what a dataset is made of, written before anything else, and compared when a run resumes."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from manifests.contract.attributes import ATTRIBUTES, CONTRACT_VERSION
from manifests.errors import DatasetError
from manifests.files import write_bytes
from manifests.object_path import Place
from manifests.store import layout
from manifests.untrusted import decode_json, read_bounded

FORMAT = "lightloom dataset"
MOST_ITEMS = 10_000_000
"""Work items of a dataset, and whatever else a header counts; what it claims decides how much memory is taken."""
_LARGEST = 64 << 20


def attribute_table() -> dict[str, dict[str, Any]]:
    """The attribute table as JSON values by name; an infinite range or background is the string "inf"."""
    return {name: _plain(dataclasses.asdict(attribute)) for name, attribute in ATTRIBUTES.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


class MergedSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dataset that was merged into this one: its shards begin at `first_shard`, and its items
    keep their numbers."""

    first_shard: Annotated[int, Meta(ge=0, le=MOST_ITEMS)]
    shards: Annotated[int, Meta(ge=0, le=MOST_ITEMS)]
    prefix: str
    stage: str
    recipe: dict[str, Any]
    seed: int
    items: Annotated[int, Meta(ge=0, le=MOST_ITEMS)]
    per_shard: Annotated[int, Meta(ge=1, le=MOST_ITEMS)]
    lights: Annotated[int, Meta(ge=0, le=MOST_ITEMS)]
    catalogue: str


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The identity of a dataset: with the stage's code, these fields decide every clip of it.

    `items` is the number of work items (scenes, or real videos), `lights` the clips that each yields, 0 where that
    differs from item to item (every row then says `item_clips`); shard k holds exactly the items
    [k per_shard, (k + 1) per_shard). `recipe` is the recipe as JSON, `catalogue` the digest of the assets or the
    footage it draws from. `sources` is empty unless the dataset was merged from others.
    """

    contract: Annotated[int, Meta(ge=1)] = CONTRACT_VERSION
    stage: str
    codec: Literal["exact", "compact"]
    recipe: dict[str, Any]
    seed: int
    items: Annotated[int, Meta(ge=0, le=MOST_ITEMS)]
    per_shard: Annotated[int, Meta(ge=1, le=MOST_ITEMS)]
    lights: Annotated[int, Meta(ge=0, le=MOST_ITEMS)] = 1
    catalogue: str = ""
    attributes: dict[str, dict[str, Any]] = msgspec.field(default_factory=attribute_table)
    sources: tuple[MergedSource, ...] = ()

    @property
    def shards(self) -> int:
        """How many shards the finished dataset has."""
        if self.sources:
            return sum(source.shards for source in self.sources)
        return -(-self.items // self.per_shard)

    def digest(self) -> str:
        """SHA-256, in hex, of the canonical JSON; every manifest carries it, so a changed header is noticed."""
        return hashlib.sha256(msgspec.json.encode(_normal(self), order="deterministic")).hexdigest()

    def contract_of(self, digest: str) -> int | None:
        """The contract under which a shard was written whose manifest carries `digest`; None if under another header.

        An older one than the header's is that of a shard which `repair` has yet to rewrite.
        """
        versions = range(CONTRACT_VERSION, 0, -1)
        return next((one for one in versions if msgspec.structs.replace(self, contract=one).digest() == digest), None)

    def source(self, shard: int) -> MergedSource | Header:
        """Which run made `shard`: this header, or for a merged dataset the source that it came from."""
        for source in self.sources:
            if source.first_shard <= shard < source.first_shard + source.shards:
                return source
        return self

    def shard_items(self, shard: int) -> range:
        """The work items of a shard, in the numbering of `source(shard)`; empty when there is no such shard."""
        if not 0 <= shard < self.shards:
            return range(0)
        source = self.source(shard)
        first = (shard - getattr(source, "first_shard", 0)) * source.per_shard
        return range(first, min(first + source.per_shard, source.items))


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A codec error over all clips; `worst` is the lowest where more is better (PSNR), else the highest."""

    worst: float
    mean: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted and measured in the committed shards; not part of the dataset's identity."""

    complete: bool = False
    shards: int = 0
    clips: int = 0
    failures: int = 0
    bytes: int = 0
    codec_errors: dict[str, Bound] = {}


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of dataset.json."""

    format: str = FORMAT
    header: Header
    measured: Measured = Measured()


def read_document(dataset: Place) -> Document:
    """Read dataset.json; DatasetError says what is wrong with it."""
    path = dataset / layout.HEADER
    try:
        data = read_bounded(path, _LARGEST)
    except FileNotFoundError:
        raise DatasetError(f"no {layout.HEADER} here", "give the folder of a dataset", where=dataset) from None
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror}", where=path) from None
    try:
        raw = decode_json(data, dict[str, Any])
        header = raw.get("header")
        contract = header.get("contract") if isinstance(header, dict) else None
        if raw.get("format") == FORMAT and isinstance(contract, int) and contract > CONTRACT_VERSION:
            raise DatasetError(
                f"written under contract version {contract}, this release reads {CONTRACT_VERSION}",
                "update it",
                where=path,
            )
        document = msgspec.convert(raw, Document)
    except msgspec.DecodeError as error:
        raise DatasetError(f"not a dataset header ({error})", "restore it from a copy", where=path) from None
    if document.format != FORMAT:
        raise DatasetError(f"format is {document.format!r}, expected {FORMAT!r}", where=path)
    return document


def write_document(dataset: Place, document: Document) -> None:
    """Write dataset.json in one step, readable by people."""
    write_bytes(dataset / layout.HEADER, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def difference(old: Header, new: Header) -> str | None:
    """The first field in which two headers differ, as "recipe.render.samples is 16, not 32"; None when equal.

    An optional attribute that only one of them knows is no difference: a later release added it.
    """
    tables = [header.attributes for header in (old, new)]
    later = {name for name in tables[0].keys() ^ tables[1].keys() if not (tables[0] | tables[1])[name].get("required")}
    old, new = (
        msgspec.structs.replace(
            header, attributes={name: row for name, row in header.attributes.items() if name not in later}
        )
        for header in (old, new)
    )
    found = first_difference(_normal(old), _normal(new), missing=msgspec.UNSET)
    if found is None:
        return None
    path, one, other = found
    return f"{path} is {'not set' if one is msgspec.UNSET else short(one)}, not {short(other)}"


def _normal(header: Header) -> Any:
    return msgspec.json.decode(msgspec.json.encode(header))


def first_difference(old: Any, new: Any, *, missing: Any = None) -> tuple[str, Any, Any] | None:
    """Where two JSON values differ first, as (path, old, new), for example ("render.samples", 16, 32); None when equal.

    16 and 16.0 are equal. A field that only one of them has is `missing` in the other.
    """
    return next(_differences("", old, new, missing), None)


def _differences(path: str, old: Any, new: Any, missing: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            here = f"{path}.{key}" if path else key
            yield from _differences(here, old.get(key, missing), new.get(key, missing), missing)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(f"{path}[{index}]", one, other, missing)
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield path, old, new


def short(value: Any) -> str:
    """A JSON value in at most 60 characters, for a message."""
    if value is msgspec.UNSET:
        return "unset"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
