"""`lightloom assets`: what scenes are made of. Build a catalogue from providers, score its meshes, list it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tqdm import tqdm
from tyro.conf import Positional
from tyro.extras import SubcommandApp

from lightloom.commands.data import place_named
from lightloom.saying import say
from manifests.files import check_no_folder
from manifests.object_path import Place

if TYPE_CHECKING:
    from datagen.assets.isolation import Verdict
    from scenes.catalogue import Catalogue

app = SubcommandApp()
Table = Annotated[Place, place_named("CATALOGUE")]


def load(path: Place | None) -> Catalogue:
    """The catalogue at `path`, or the built-in one when there is no path."""
    from scenes.catalogue import Catalogue
    from scenes.providers.builtin import builtin_catalogue

    return builtin_catalogue() if path is None else Catalogue.load(path)


@app.command
def build(
    out: Positional[Table],
    /,
    *,
    folder: tuple[Path, ...] = (),
    objaverse: Path | None = None,
    download: int = 0,
    builtin: bool = True,
    processes: int = 1,
) -> int:
    """Collect assets into a catalogue and score its mesh files, each import in a process of its own.

    Example: lightloom assets build out/assets.parquet --folder ~/assets

    Args:
        out: Parquet file to write, in a folder or a bucket.
        folder: folders with GLB/OBJ/FBX/PLY/STL/USD meshes, texture sets and HDR maps.
        objaverse: the objaverse package's cache (`~/.objaverse` or a folder `hf-objaverse-v1`).
        download: fetch so many LVIS objects into the objaverse cache first (needs internet).
        builtin: include the built-in catalogue.
        processes: importing processes at once.
    """
    from scenes.catalogue import Catalogue
    from scenes.providers.builtin import builtin_catalogue
    from scenes.providers.folder import folder_catalogue
    from scenes.providers.objaverse import objaverse_catalogue

    check_no_folder(out)
    parts = [builtin_catalogue()] if builtin else []
    parts += [folder_catalogue(path, path.resolve().name) for path in folder]
    if objaverse is not None or download:
        parts.append(objaverse_catalogue(objaverse, download=download))
    catalogue = Catalogue(()).merge(*parts)
    for problem in catalogue.problems:
        say(f"{problem.path}: {problem.reason}")
    _score(catalogue, processes, again=False).save(out)
    say(f"{out}: {len(catalogue)} assets, {len(catalogue.problems)} files left out")
    return 0


@app.command
def score(catalogue: Positional[Table], /, again: bool = False, processes: int = 1) -> int:
    """Import the catalogue's mesh files, measure and judge them; what cannot be used is rejected with its reason.

    Example: lightloom assets score out/assets.parquet

    Args:
        catalogue: Parquet file of `lightloom assets build`; rewritten in place.
        again: score files that are scored already, too.
        processes: importing processes at once.
    """
    _score(load(catalogue), processes, again).save(catalogue)
    return 0


@app.command(name="list")
def list_(
    catalogue: Positional[Table | None] = None,
    /,
    *,
    kind: Literal["mesh", "material", "environment"] | None = None,
    summary: bool = False,
) -> int:
    """List the assets of a catalogue, the built-in one if none is named.

    Example: lightloom assets list --kind environment

    Args:
        catalogue: Parquet file of `lightloom assets build`.
        kind: show this kind only.
        summary: show counts instead.
    """
    table = load(catalogue)
    assets = [asset for asset in table.assets if kind in (None, asset.kind)]
    if summary:
        counts = Counter((asset.kind, asset.provider, asset.split, asset.licence) for asset in assets)
        for key, count in sorted(counts.items()):
            say(f"{count:6} " + "  ".join(key))
        return 0
    for asset in assets:
        flags = ",".join(asset.flags)
        say(f"{asset.uid:<40} {asset.kind:<11} {asset.split:<5} {asset.licence:<12} {asset.score:.2f} {flags}")
    return 0


def _score(catalogue: Catalogue, processes: int, again: bool) -> Catalogue:
    from datagen.assets.scoring import ScoringOptions, score_catalogue

    waiting = sum(asset.kind == "mesh" and (again or "unscored" in asset.flags) for asset in catalogue.assets)
    if not waiting:
        return catalogue
    with tqdm(total=waiting, unit="file", desc="score") as bar:

        def done(_uid: str, verdict: Verdict) -> None:
            bar.set_postfix_str(verdict.reason, refresh=False)
            bar.update()

        scored, report = score_catalogue(catalogue, ScoringOptions(processes=processes, again=again), done)
    say(*report.lines())
    return scored
