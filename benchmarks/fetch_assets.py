"""Fetch the third-party assets that the robustness report and the `assets` tests use: `fetch_assets.py OUT`.

Everything comes by package name through the ordinary clients (npm, apt-get, pip) and ends up in one folder a package,
with a `lightloom-assets.yaml` that repeats the licence the package states. Nothing of it is part of this project.
A folder that is already there is left alone, so the script can be run again after an interruption.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import yaml

MAX_BYTES = 1 << 30
TEXTURE_SETS = {  # material name: folder in the package
    "corrugated_cardboard": "corrugated_cardboard",
    "paper": "paper",
    "foamboard": "foamboard",
    "plastic_rough": "_rough",
    "carbon_fiber": "carbon_fiber",
    "fabric_weave": "fabric_weave",
    "felt": "felt",
    "leather": "leather",
}


def _run(folder: Path, *command: str) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit(f"{command[0]} is not installed; it is needed to fetch this package")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(command)} failed in {folder}: {(error.stderr or error.stdout).strip()[-500:]}")


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        sys.exit(f"expected one {pattern} in {folder}, found {[path.name for path in found]}")
    return found[0]


def _put(root: Path, name: str, stream: io.BufferedIOBase, left: int) -> int:
    """Write a member under root if its name stays inside; returns the bytes still allowed."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
        sys.exit(f"refused to unpack {name!r}: it leaves its folder")
    data = stream.read(left + 1)
    if len(data) > left:
        sys.exit(f"refused to unpack {name!r}: more than {MAX_BYTES} bytes in all")
    target = root.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return left - len(data)


def _untar(archive: tarfile.TarFile, root: Path, rename: Callable[[str], str | None]) -> None:
    left = MAX_BYTES
    for member in archive:
        name = rename(member.name)
        content = archive.extractfile(member) if name and member.isfile() else None
        if name and content:
            left = _put(root, name, content, left)


def _unzip(file: Path, root: Path, rename: Callable[[str], str | None]) -> None:
    left = MAX_BYTES
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            name = rename(member.filename)
            if name and not member.is_dir():
                with archive.open(member) as content:
                    left = _put(root, name, content, left)


@contextlib.contextmanager
def _debian(folder: Path, package: str) -> Iterator[tarfile.TarFile]:
    _run(folder, "apt-get", "download", package)
    tar = folder / "data.tar"
    with tar.open("wb") as sink:
        subprocess.run(["dpkg-deb", "--fsys-tarfile", _only(folder, f"{package}_*.deb")], check=True, stdout=sink)
    with tarfile.open(tar) as archive:
        yield archive


def _rule(path: str, licence: str, author: str, url: str = "") -> dict[str, str]:
    return {"path": path, "licence": licence, "author": author} | ({"url": url} if url else {})


def _after(name: str, prefix: str) -> str | None:
    return name.removeprefix("./").removeprefix(prefix) if name.removeprefix("./").startswith(prefix) else None


def webxr(download: Path, out: Path) -> list[dict[str, str]]:
    """Generic controllers and hands of the WebXR input profiles: GLB with real textures, MIT by its LICENSE."""

    def rename(name: str) -> str | None:
        if name == "package/LICENSE.md":
            return "LICENSE.md"
        inner = _after(name, "package/dist/profiles/") or ""
        return inner if inner.startswith("generic-") and inner.endswith(".glb") else None

    _run(download, "npm", "pack", "@webxr-input-profiles/assets")
    with tarfile.open(_only(download, "*.tgz")) as archive:
        _untar(archive, out, rename)
    return [_rule("**", "MIT", "Amazon")]


def furniture(download: Path, out: Path) -> list[dict[str, str]]:
    """BlendSwap-CC-0 library of Sweet Home 3D: OBJ and MTL in centimetres; CC0 (LICENSE.TXT), authors in its index."""
    library = "usr/share/sweethome3d/furniture/BlendSwap-CC-0.sh3f"
    with _debian(download, "sweethome3d-furniture") as archive:
        _untar(archive, download, lambda name: "library.zip" if _after(name, library) == "" else None)
    icon = re.compile(r"blendswap-cc-0/[^/]+\.png")
    _unzip(download / "library.zip", out, lambda name: None if icon.fullmatch(name) else name)
    index = (out / "PluginFurnitureCatalog.properties").read_text("latin-1")
    fields = dict(re.findall(r"^((?:model|creator)#\d+)=(.*)$", index, re.MULTILINE))
    folders = {}
    for key, model in fields.items():
        if key.startswith("model#"):
            folder = str(PurePosixPath(model.strip().lstrip("/")).parent)
            folders[folder] = fields.get(key.replace("model", "creator"), "Blend Swap").strip()
    url = "https://www.blendswap.com"
    return [_rule(f"{folder}/**", "CC0-1.0", author, url) for folder, author in sorted(folders.items())] + [
        _rule("**", "CC0-1.0", "Blend Swap contributors", url)
    ]


def assimp(download: Path, out: Path) -> list[dict[str, str]]:
    """Test models of Assimp, many broken by intent; BSD-3-Clause by Debian's copyright file, one folder Expat (MIT)."""
    with _debian(download, "assimp-testmodels") as archive:
        _untar(archive, out, lambda name: _after(name, "usr/share/assimp/models/"))
    return [
        _rule("glTF2/glTF-Asset-Generator/**", "MIT", "Gary Hsu"),
        _rule("**", "BSD-3-Clause", "ASSIMP Development Team", "https://github.com/assimp/assimp"),
    ]


def textures(download: Path, out: Path) -> list[dict[str, str]]:
    """Eight ambientCG texture sets bundled in threejs-materials 1.2.5, each marked CC0 1.0 in the package's source."""
    folders = {inner: name for name, inner in TEXTURE_SETS.items()}

    def rename(name: str) -> str | None:
        inner = _after(name, "threejs_materials/pbr_properties/") or ""
        if inner.endswith(".py"):
            return f"stated/{inner}"
        folder, _, file = (_after(inner, "_assets/") or "").partition("/")
        return f"{folders[folder]}/{file}" if folder in folders else None

    _run(
        download, sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "threejs-materials==1.2.5", "-d", "."
    )
    _unzip(_only(download, "threejs_materials-*.whl"), out, rename)
    stated = "".join(path.read_text() for path in sorted((out / "stated").glob("*.py")))
    shutil.rmtree(out / "stated")
    rules = []
    for name in TEXTURE_SETS:
        entry = re.search(rf"'id': '{name}',.*?'url': '([^']*)',\s*'license': '([^']*)'", stated, re.DOTALL)
        if entry is None or entry[2] != "CC0 1.0":
            sys.exit(f"threejs-materials does not state CC0 1.0 for {name}: {entry and entry[2]!r}")
        rules.append(_rule(f"{name}/**", "CC0-1.0", "ambientCG", entry[1].replace(" ", "")))
    return rules


PACKAGES: dict[str, Callable[[Path, Path], list[dict[str, str]]]] = {
    "webxr": webxr,
    "furniture": furniture,
    "textures": textures,
    "assimp": assimp,
}


def fetch(out: Path, name: str) -> None:
    """Fetch one package into OUT/name; the folder appears whole or not at all."""
    if (out / name / "lightloom-assets.yaml").exists():
        print(f"{name}: already there")
        return
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".fetching-") as scratch:
        download, unpacked = Path(scratch) / "download", Path(scratch) / name
        download.mkdir()
        unpacked.mkdir()
        rules = PACKAGES[name](download, unpacked)
        sidecar = yaml.safe_dump({"assets": rules}, sort_keys=False, allow_unicode=True)
        (unpacked / "lightloom-assets.yaml").write_text(sidecar, "utf-8")
        shutil.rmtree(out / name, ignore_errors=True)
        unpacked.rename(out / name)
    print(f"{name}: {sum(path.is_file() for path in (out / name).rglob('*'))} files")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to fetch into")
    parser.add_argument("--only", choices=sorted(PACKAGES), nargs="+", help="fetch only these packages")
    options = parser.parse_args()
    for name in options.only or PACKAGES:
        fetch(options.out.resolve(), name)


if __name__ == "__main__":
    main()
