"""`lightloom data`: check, mend, combine and describe datasets. Needs neither Blender nor Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from tqdm import tqdm
from tyro.conf import Positional
from tyro.constructors import PrimitiveConstructorSpec
from tyro.extras import SubcommandApp

from lightloom.saying import say
from manifests.errors import InputError
from manifests.files import check_no_folder
from manifests.object_path import ObjectPath, Place, place
from manifests.store import layout

app = SubcommandApp()


def place_named(metavar: str) -> PrimitiveConstructorSpec[Any]:
    """How the command line reads a folder or a URL such as s3://bucket/set."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: place(words[0]),
        is_instance=lambda value: isinstance(value, Path | ObjectPath),
        str_from_instance=lambda value: [str(value)],
    )


Folder = Annotated[Place, place_named("DATASET")]
File = Annotated[Place, place_named("PATH")]
Level = Literal["quick", "full", "decode"]


@contextmanager
def _bytes_bar(what: str, folders: tuple[Place, ...]) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of the datasets' shards."""
    total = sum(map(_shard_bytes, folders)) or None
    with tqdm(total=total, unit="B", unit_scale=True, desc=what, leave=False) as bar:

        def update(size: int) -> None:
            bar.update(size)

        yield update


def _shard_bytes(dataset: Place) -> int:
    folder = dataset / layout.SHARDS
    if isinstance(folder, ObjectPath):
        return sum(shard.st_size for shard in folder.stats().values()) if folder.lists else 0
    return sum(shard.stat().st_size for shard in folder.glob("*.tar"))


@app.command
def copy(
    source: Positional[Folder],
    target: Positional[Annotated[Place, place_named("TARGET")]],
    /,
    *,
    threads: int = 4,
    read_back: bool = True,
) -> int:
    """Copy a dataset into a bucket, out of one, or from one to another; the same command goes on with a stopped copy.

    A shard of the copy counts once all of it is there and its bytes are compared with their hashes.

    Example: lightloom data copy out/set out/second-set

    Args:
        source: folder or URL of the dataset; shards that are not committed yet are left out.
        target: folder, or s3://, gs:// or az://BUCKET/FOLDER.
        threads: shards on their way at once; each takes its size of the temporary folder where a bucket is read.
        read_back: read what was written and compare it; without it only what is sent is compared.
    """
    from manifests.audit.copying import copy as send

    with _bytes_bar("copy", (source,)) as progress:
        total = send(source, target, threads=threads, read_back=read_back, progress=progress)
    say(f"{target}: {total.clips} clips in {total.shards} shards, {total.bytes / 1e6:.1f} MB")
    return 0


@app.command
def verify(
    dataset: Positional[Folder],
    /,
    *,
    level: Literal["quick", "full", "decode"] = "full",
    threads: int = 4,
    sample: str = "100%",
) -> int:
    """Say whether a dataset is whole: one line for each thing that is wrong, and what to do about it.

    Example: lightloom data verify out/set

    Args:
        dataset: folder or URL of the dataset.
        level: `quick` looks at sizes and structure, `full` at every byte, `decode` also decodes every clip.
        threads: shards checked at once; those of a large folder by as many processes.
        sample: share of the shards, drawn anew each time, that `level` is for, such as 1%; the others `quick`.
    """
    from manifests.audit.verify import verify as check

    with _bytes_bar("verify", (dataset,)) as progress:
        report = check(dataset, level, threads, progress, sample=_share(sample))
    for finding in report.findings:
        say(finding)
    state = "whole" if report.ok else f"{len(report.findings)} findings"
    missing = f", {report.missing} shards not made yet" if report.missing else ""
    say(f"{dataset}: {state}; {report.shards} shards, {report.clips} clips, {report.bytes / 1e6:.1f} MB{missing}")
    return 0 if report.ok else 1


def _share(text: str) -> float:
    """A share such as `1%` or 0.01."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InputError(f"`sample` is {text!r}", "give a share such as 1%", fields=("sample",)) from None


@app.command
def repair(dataset: Positional[Folder], /, *, threads: int = 4) -> int:
    """Keep every clip that is still whole, take the rest out, so that the next run makes it again.

    A dataset of an older contract is upgraded in place on the way.

    Example: lightloom data repair out/set && lightloom datagen run out/set

    Args:
        dataset: folder or URL of the dataset.
        threads: shards checked at once.
    """
    from manifests.audit.repair import repair as mend

    with _bytes_bar("repair", (dataset,)) as progress:
        report = mend(dataset, threads, progress)
    if not report.changed:
        say(f"{dataset}: nothing to repair")
        return 0
    for name in (*report.quarantined, *report.removed):
        say(f"{'moved to quarantine' if name in report.quarantined else 'removed'}: {name}")
    if report.new_contract or report.upgraded:
        say(f"{dataset}: upgraded to the contract of this release, {len(report.upgraded)} shards written anew")
    say(
        f"{dataset}: {len(report.rebuilt)} shards rebuilt, {len(report.requeued)} requeued; {report.kept} clips kept, "
        f"{report.lost} items to make again" + (f": lightloom datagen run {dataset}" if report.lost else "")
    )
    return 0


@app.command
def merge(datasets: Positional[tuple[Folder, ...]], /, *, out: File) -> int:
    """Combine finished datasets of one codec into a new one; files are linked where that is possible.

    Example: lightloom data merge out/monday out/tuesday --out out/both

    Args:
        datasets: folders of two or more finished datasets.
        out: folder of the new dataset.
    """
    from manifests.audit.merge import merge as combine

    with _bytes_bar("merge", datasets) as progress:
        total = combine(datasets, out, progress)
    say(f"{out}: {total.clips} clips in {total.shards} shards, {total.bytes / 1e6:.1f} MB")
    return 0


@app.command
def stats(dataset: Positional[Folder], /, *, json: bool = False) -> int:
    """Count clips by split, motion, asset, licence, flag and failure, from the manifests alone.

    Example: lightloom data stats out/set

    Args:
        dataset: folder or URL of the dataset.
        json: print JSON in place of tables.
    """
    from manifests.audit.stats import stats as count

    result = count(dataset)
    say(*(result.json() if json else result.text()).splitlines())
    return 0


@app.command
def attribution(dataset: Positional[Folder], /, *, out: File | None = None) -> int:
    """Write who is owed credit for every asset that is seen in a dataset; warn where a licence restricts its use.

    Example: lightloom data attribution out/set

    Args:
        dataset: folder or URL of the dataset.
        out: folder for ATTRIBUTION.md and attribution.csv; the dataset's own if not given.
    """
    from manifests.audit.attribution import attribution as credits_of

    result = credits_of(dataset)
    for warning in result.warnings:
        say(f"warning: {warning}")
    page, _ = result.write(out or dataset)
    say(f"{page}: {len(result.credits)} assets, {len(result.warnings)} to decide on")
    return 0


@app.command
def report(dataset: Positional[Folder], /, *, out: File | None = None, clips: int = 8) -> int:
    """Write one self-contained HTML page: contact sheets, playable clips, histograms, failures, licences.

    Example: lightloom data report out/set

    Args:
        dataset: folder or URL of the dataset.
        out: file to write; `report.html` in the dataset's folder if not given.
        clips: how many clips to embed as videos.
    """
    from manifests.report import write_report

    if out is not None:
        check_no_folder(out)
    say(write_report(dataset, out, clips))
    return 0
