"""What the studio offers: clips named at its start, and the built-in lights and meshes that differ at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from editing.film import open_film
from editing.lights import NamedLight, find_light, light_names
from manifests.store.dataset import open_dataset
from manifests.store.layout import HEADER

_STUDIOS = 10
_CLIPS = 32
_PLAIN = ("sphere", "cube", "rounded_cube", "torus", "cylinder", "cone", "capsule", "suzanne")
_SHAPED = ("composite/chair", "composite/lamp", "composite/cairn", "bolt", "rock/asteroid")

MESHES = {
    **{name.replace("_", " "): f"builtin/mesh/{name}" for name in _PLAIN},
    **{name.rpartition("/")[2]: f"builtin/mesh/{name}/0000" for name in _SHAPED},
}
"""Names for people, and uids of the built-in catalogue."""


def lights() -> list[NamedLight]:
    """Every map of a place, and the first few studios."""
    names = light_names()
    places = [name for name in names if "/" not in name]
    return [find_light(name) for name in (*places, *[name for name in names if "/" in name][:_STUDIOS])]


def offered(names: Sequence[str]) -> dict[str, str]:
    """What `open_film` takes, by names for people; a dataset stands for its first clips."""
    found: dict[str, str] = {}
    for name in names:
        if (Path(name) / HEADER).is_file():
            keys = [row.key for row in islice(open_dataset(name).rows(), _CLIPS)]
            found.update({f"{Path(name).name}:{key}": f"{name}:{key}" for key in keys})
        else:
            with open_film(name):
                found[Path(name).name] = name
    return found
