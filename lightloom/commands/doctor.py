"""`lightloom doctor`: what this machine can do, what is missing, and what to do about it.

Blender and torch crash each other in one process, and a broken driver takes the process that asks along. So each is
asked in a process of its own, and a death there is told like any other lack.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from datagen.child import run_python
from lightloom.rooms import HOME, ROOMS, strangers

_PYTHON = (3, 13)
_DISK_BYTES = 2 << 30
_MEMORY_BYTES = 3 << 30
_SECONDS = 180
_INSTALL = "set up again: `pip install -e .` in the checkout"
_BLENDER = """
import json, os, bpy
from datagen.blender import devices, session
session.start()
print(json.dumps({"version": bpy.app.version_string, "devices": [str(one) for one in devices.available()]}), flush=True)
os._exit(0)
"""
_TORCH = """
import json, torch
cuda = torch.cuda.is_available()
mps = torch.backends.mps.is_available()
name = f"cuda {torch.cuda.get_device_name()}" if cuda else "mps" if mps else "cpu"
device = "cuda" if cuda else "mps" if mps else "cpu"
a = torch.ones(8, 8, device=device, dtype=torch.bfloat16)
bf16 = bool((a @ a == 8).all()) and (not cuda or torch.cuda.is_bf16_supported(including_emulation=False))
print(json.dumps({"version": torch.__version__, "device": name, "bf16": bf16}))
"""
_EXTRAS = {"view": ("rerun-sdk", "lightloom view"), "studio": ("gradio", "lightloom studio")}
_PLAN = """
import json, sys, torch
from renderers.cosmos.memory_planner import CARDS, advice
here = torch.cuda.get_device_properties(0).total_memory / 1e9 if torch.cuda.is_available() else None
cards = {f"{size} GB card": advice(size) for size in CARDS} | ({} if here is None else {"this GPU": advice(here)})
print(json.dumps(cards))
"""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        state: `ok`; `missing` is something required; `absent` is something that can be done without.
        found: what there is, in a few words.
        advice: what to do; "" where nothing need be done.
    """

    name: str
    state: Literal["ok", "missing", "absent"]
    found: str
    advice: str = ""

    def line(self) -> str:
        """For people, one line."""
        return f"{self.state:<8} {self.name:<10} {self.found}" + (f"; {self.advice}" if self.advice else "")


def doctor(
    *,
    folder: Path = Path(),
    weights: Literal["cosmos"] | None = None,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Say what this machine can do and what is missing. Exit code 1 if something is missing that is required.

    Example: lightloom doctor

    Args:
        folder: where datasets and checkpoints shall go; its disk is looked at.
        weights: say too which card runs these published weights, and how; computed, not measured.
        as_json: print JSON in place of lines.
    """
    checks = []
    for check in itertools.chain(examine(folder), _plan() if weights else ()):
        checks.append(check)
        if not as_json:
            print(check.line(), flush=True)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    missing = [check.name for check in checks if check.state == "missing"]
    if missing and not as_json:
        print(f"required and missing: {', '.join(missing)}")
    return 1 if missing else 0


def examine(folder: Path) -> Iterator[Check]:
    """Look at one thing after the other; the quick ones come first."""
    yield _python()
    yield _rooms()
    yield _guides()
    yield _cores()
    yield _memory()
    yield _disk("disk", folder)
    yield _disk("temporary", Path(tempfile.gettempdir()))
    yield _encoders()
    yield _package("ray", "ray", "workers run in Ray")
    yield from _blender()
    yield _torch()
    for extra, (package, command) in _EXTRAS.items():
        yield _extra(extra, package, command)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == _PYTHON:
        return Check("python", "ok", f"{version} at {sys.executable}")
    wanted = ".".join(map(str, _PYTHON))
    return Check("python", "missing", version, f"Blender's module is built for Python {wanted}; install that")


def _rooms() -> Check:
    """Whether a package of another distribution hides one of ours."""
    if wrong := strangers():
        return Check("packages", "missing", "; ".join(wrong.values()))
    return Check("packages", "ok", f"all {len(ROOMS)} are Lightloom's, in {HOME}")


def _guides() -> Check:
    """Where the guides lie that messages and help texts name, such as docs/weights.md."""
    from manifests.yaml_presets import guide

    index = guide("docs/index.md")
    if index.is_file():
        return Check("guides", "ok", f"docs/ is {index.parent}")
    return Check("guides", "absent", f"not in {index.parent}", "they are in docs/ of the source")


def _cores() -> Check:
    return Check("cores", "ok", f"{os.process_cpu_count()} usable of {os.cpu_count()}")


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    total, free = _container_limit(memory.total), memory.available
    found = f"{total / 1e9:.1f} GB, {min(free, total) / 1e9:.1f} GB available"
    if total >= _MEMORY_BYTES:
        return Check("memory", "ok", found)
    return Check("memory", "missing", found, f"a worker needs {_MEMORY_BYTES / 1e9:.0f} GB")


def _container_limit(total: int) -> int:
    """Bytes that a container's limit (cgroup 2) leaves of `total`."""
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return total


def _disk(name: str, folder: Path) -> Check:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:.1f} GB free at {place}"
    if not os.access(place, os.W_OK):
        return Check(name, "missing", f"{place} cannot be written", "give another folder with --folder, or set TMPDIR")
    if free < _DISK_BYTES:
        return Check(name, "missing", found, f"make room: {_DISK_BYTES / 1e9:.0f} GB are the least")
    return Check(name, "ok", found)


def _encoders() -> Check:
    """The encoders of `manifests.codec.formats`, without which no compact dataset can be written."""
    try:
        import av
        from av.codec.codec import UnknownCodecError
    except ImportError as error:
        return Check("ffmpeg", "missing", str(error), _INSTALL)
    from manifests.codec.formats import FORMATS

    there, lacking = [], []
    for name in sorted({coding.encoder for coding in FORMATS.values()}):
        try:
            av.Codec(name, "w")
            there.append(name)
        except UnknownCodecError:
            lacking.append(name)
    if not lacking:
        return Check("ffmpeg", "ok", f"PyAV {av.__version__} with {', '.join(there)}")
    advice = "install PyAV's wheel (pip install --force-reinstall --only-binary av av)"
    return Check("ffmpeg", "missing", f"PyAV {av.__version__} without {', '.join(lacking)}", advice)


def _package(name: str, package: str, purpose: str) -> Check:
    try:
        return Check(name, "ok", f"{importlib.metadata.version(package)}; {purpose}")
    except importlib.metadata.PackageNotFoundError:
        return Check(name, "missing", f"not installed; {purpose}", _INSTALL)


def _extra(extra: str, package: str, command: str) -> Check:
    try:
        return Check(extra, "ok", f"{package} {importlib.metadata.version(package)}")
    except importlib.metadata.PackageNotFoundError:
        advice = f"for `{command}`: pip install 'lightloom[{extra}]'"
        return Check(extra, "absent", f"{package} is not installed", advice)


def _blender() -> Iterator[Check]:
    answer = _ask(_BLENDER)
    if isinstance(answer, str):
        yield Check("blender", "missing", f"bpy cannot be used: {answer}", _INSTALL)
        return
    yield Check("blender", "ok", f"bpy {answer['version']}")
    devices = answer["devices"]
    advice = ""
    if all(device.startswith("CPU") for device in devices):
        advice = "no GPU is seen: in a container OptiX needs the driver capability `graphics`"
    yield Check("cycles", "ok", ", ".join(devices), advice)


def _torch() -> Check:
    answer = _ask(_TORCH)
    if isinstance(answer, str):
        return Check("torch", "missing", f"torch cannot be used: {answer}", _INSTALL)
    advice = "" if answer["device"] != "cpu" else "no GPU is seen: use the `tiny` backbone here"
    bf16 = "bf16" if answer["bf16"] else "no bf16"
    return Check("torch", "ok", f"{answer['version']} on {answer['device']}, {bf16}", advice)


def _plan() -> Iterator[Check]:
    """How the published cosmos weights run on common cards, and on this machine's."""
    answer = _ask(_PLAN)
    if isinstance(answer, str):
        yield Check("cosmos", "absent", f"cannot be planned: {answer}")
        return
    for card, lines in answer.items():
        for line in lines:
            yield Check("cosmos", "absent" if "does not fit" in line else "ok", f"{card}, {line}")
    if "this GPU" not in answer:
        yield Check(
            "cosmos", "absent", "this machine, no GPU", "24 GB of GPU memory run all of it, 6 GB block by block"
        )


def _ask(code: str) -> dict[str, Any] | str:
    """Run `code` in a process of its own: the JSON object of its last line, or why there is none."""
    try:
        ended = run_python("-c", code, seconds=_SECONDS)
    except TimeoutError:
        return f"no answer after {_SECONDS} seconds"
    if ended.code == 0 and ended.output.strip():
        answer: dict[str, Any] = json.loads(ended.output.strip().splitlines()[-1])
        return answer
    return ended.why
