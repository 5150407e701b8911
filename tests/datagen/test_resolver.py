from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from datagen.assets.inspection import inspect
from datagen.resolver import Resolver
from manifests import object_path
from manifests.errors import RenderError, StorageError
from manifests.object_path import ObjectPath
from scenes.catalogue import Catalogue
from scenes.providers.file_checks import sha256_of
from scenes.providers.folder import folder_catalogue
from scenes.spec import File, TextureSet
from scenes.texturesets import find_maps
from tests.datagen.meshfiles import GltfFile, noise_png, obj
from tests.object_store import FaultProxy, connected, upload


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    root = tmp_path / "assets"
    (root / "maps").mkdir(parents=True)
    (root / "maps" / "a.exr").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"content")
    (root / "link").symlink_to(tmp_path / "secret")
    return Resolver({"mine": root}, tmp_path / "cache")


@pytest.fixture
def far(resolver: Resolver, bucket: ObjectPath, tmp_path: Path) -> Resolver:
    """The same files in a bucket."""
    (bucket / "mine/maps/a.exr").put(b"content")
    return Resolver({"mine": bucket / "mine"}, tmp_path / "far")


def file(path: str, **changes: str) -> File:
    known = {"uid": "u", "provider": "mine", "sha256": hashlib.sha256(b"content").hexdigest()}
    return File(path=path, **(known | changes))


def test_files_and_folders_are_found(resolver: Resolver) -> None:
    root = resolver.roots["mine"].resolve()
    assert resolver.path(file("maps/a.exr")) == root / "maps" / "a.exr"
    assert resolver.path(TextureSet(uid="t", provider="mine", path="maps", sha256="", size=1.0)) == root / "maps"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (file("../secret"), "unsafe-path"),
        (file("link"), "unsafe-path"),
        (file("/etc/passwd"), "unsafe-path"),
        (file("maps/b.exr"), "missing-asset"),
        (file("maps/a.exr", provider="other"), "missing-asset"),
        (file("maps/a.exr", sha256="0" * 64), "changed-asset"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(
    resolver: Resolver, wanted: File, reason: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    places = [resolver] if wanted.path == "link" else [resolver, request.getfixturevalue("far")]
    for place in places:
        with pytest.raises(RenderError, match=r"^u: ") as caught, place.in_use():
            place.path(wanted)
        assert caught.value.reason == reason
    assert not [file for file in tmp_path.glob("far/assets/*/[!.]*") if file.is_file()], "wrong content is not kept"


def test_a_file_that_changes_later_is_noticed(resolver: Resolver) -> None:
    path = resolver.path(file("maps/a.exr"))
    path.write_bytes(b"another content")
    with pytest.raises(RenderError) as caught:
        resolver.path(file("maps/a.exr"))
    assert caught.value.reason == "changed-asset"


def test_errors_and_specs_survive_the_way_between_processes(resolver: Resolver) -> None:
    error = pickle.loads(pickle.dumps(RenderError("bad-image", "scene 3: broken", log_tail="tail")))  # noqa: S301
    assert (error.reason, str(error), error.log_tail) == ("bad-image", "scene 3: broken", "tail")
    assert pickle.loads(pickle.dumps(resolver)).roots == resolver.roots  # noqa: S301
    assert msgspec.json.decode(msgspec.json.encode(file("a")), type=File) == file("a")


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """A folder with files that name others: glTF, OBJ, FBX, and texture maps in a folder of their own."""
    root = tmp_path / "my assets"
    for name in ("box/sub dir", "chair/maps", "fbx/tex", "oak/Textures", "flat"):
        (root / name).mkdir(parents=True)
    box = GltfFile()
    box.document["images"] = [{"uri": "sub%20dir/col%20or.png"}, {"uri": "data:image/png;base64,aaaa"}]
    box.gltf(root / "box" / "box.gltf", "sub dir/box.bin")
    (root / "box/sub dir/box.bin").write_bytes(bytes(box.binary))
    (root / "box/sub dir/col or.png").write_bytes(noise_png())
    obj(root / "chair", "newmtl paint\nKd 1 1 1\nmap_Kd maps\\wood.png\nmap_Bump -bm 2 maps/../maps/b.png\n")
    for name in ("wood.png", "b.png", "other.png"):
        (root / "chair/maps" / name).write_bytes(noise_png())
    (root / "fbx/chair.fbx").write_bytes(b"Kaydara FBX Binary  tex\\red.png")
    for name in ("tex/red.png", "tex/blue.png"):
        (root / "fbx" / name).write_bytes(noise_png())
    for folder, material in {"oak/Textures": "oak", "flat": "pine"}.items():
        for name, size in {"diff_1k.png": 8, "rough_1k.png": 9, "ao_1k.png": 10, "notes.txt": 11}.items():
            (root / folder / f"{material}_{name}").write_bytes(noise_png(size))
    return root


def sources(catalogue: Catalogue) -> Iterator[File | TextureSet]:
    for asset in catalogue.assets:
        source = asset.mesh or asset.environment or asset.material
        assert isinstance(source, File | TextureSet)
        yield source


def test_assets_in_a_bucket_are_what_they_are_in_a_folder(
    assets: Path, bucket: ObjectPath, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = folder_catalogue(assets, "mine")
    here.save(tmp_path / "catalogue.parquet")
    upload(assets, bucket / "mine")
    (bucket / "catalogue.parquet").put((tmp_path / "catalogue.parquet").read_bytes())
    there = Catalogue.load(bucket / "catalogue.parquet")
    assert there.roots["mine"] == bucket / "mine", "what lies beside it"
    assert (there.digest, there.assets) == (here.digest, here.assets)
    there.save(bucket / "set" / "catalogue.parquet")
    assert Catalogue.load(bucket / "set" / "catalogue.parquet").roots["mine"] == bucket / "mine"
    (bucket / "apart" / "catalogue.parquet").put((tmp_path / "catalogue.parquet").read_bytes())
    assert Catalogue.load(bucket / "apart" / "catalogue.parquet").roots["mine"] == assets.resolve()

    near, far = Resolver(here.roots, tmp_path), Resolver(there.roots, tmp_path / "cache")
    used: dict[str, set[str]] = {}

    def compare() -> None:
        with far.in_use():
            for source in sources(here):
                one, other = near.path(source), far.path(source)
                assert far.path(source) == other
                if isinstance(source, TextureSet):
                    maps = {key: (path.name, path.read_bytes()) for key, path in find_maps(one).files.items()}
                    assert {k: (path.name, path.read_bytes()) for k, path in find_maps(other).files.items()} == maps
                    other /= "."
                elif one.suffix != ".fbx":
                    assert inspect(other, decode=True) == inspect(one, decode=True)
                folder = other if isinstance(source, TextureSet) else other.parent
                files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
                used[source.uid] = {path.relative_to(folder).as_posix() for path in files}
        assert not other.exists()

    with FaultProxy(s3_server, lambda *_: None) as proxy, connected(monkeypatch, proxy.url):
        compare()
        asked = len(proxy.asked)
        compare()
        assert len(proxy.asked) == asked > 10, "what is there is not asked for again"
    assert used == {
        "mine/box/box.gltf": {"box.gltf", "sub dir/box.bin", "sub dir/col or.png"},
        "mine/chair/box.obj": {"box.obj", "box.mtl", "maps/wood.png", "maps/b.png"},
        "mine/fbx/chair.fbx": {"chair.fbx", "tex/red.png"},
        "mine/flat": {"pine_diff_1k.png", "pine_rough_1k.png"},
        "mine/oak": {"Textures/oak_diff_1k.png", "Textures/oak_rough_1k.png"},
    }
    assert not list((tmp_path / "cache" / "assets" / "in-use").iterdir())
    changed = next(source for source in sources(here) if source.uid == "mine/oak")
    assert isinstance(changed, TextureSet)
    for resolver in (near, far):
        with pytest.raises(RenderError) as caught, resolver.in_use():
            resolver.path(msgspec.structs.replace(changed, sha256="0" * 64))
        assert caught.value.reason == "changed-asset"


def test_workers_of_a_machine_fetch_an_asset_once_and_a_broken_fetch_counts_for_nothing(
    bucket: ObjectPath, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(range(256)) * 20_000
    (bucket / "a.glb").put(data)
    wanted = file("a.glb", sha256=hashlib.sha256(data).hexdigest())
    kept = tmp_path / "assets" / "files"

    def read(_: int = 0) -> bytes:
        resolver = Resolver({"mine": bucket}, tmp_path)
        with resolver.in_use():
            return resolver.path(wanted).read_bytes()

    monkeypatch.setattr(object_path, "TRIES", 0)
    monkeypatch.setattr(object_path, "_PAUSES_S", ())
    with (
        FaultProxy(s3_server, lambda method, _: "cut" if method == "GET" else None) as proxy,
        connected(monkeypatch, proxy.url),
        pytest.raises(StorageError),
    ):
        read()
    assert not [path for path in kept.iterdir() if path.stat().st_size]
    with FaultProxy(s3_server, lambda *_: None) as proxy, connected(monkeypatch, proxy.url):
        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(read, range(6))) == {data}
        assert sum(method == "GET" for method, _ in proxy.asked) == 1
        (copy,) = [path for path in kept.iterdir() if path.stat().st_size]
        copy.write_bytes(data[::-1])
        assert read() == data, "one that went bad is fetched again"
        assert sum(method == "GET" for method, _ in proxy.asked) == 2


def test_the_cache_keeps_its_bound_and_takes_nothing_from_a_scene(bucket: ObjectPath, tmp_path: Path) -> None:
    wanted = []
    for number in range(5):
        data = bytes([number]) * 400_000
        (bucket / f"{number}.glb").put(data)
        wanted.append(file(f"{number}.glb", sha256=hashlib.sha256(data).hexdigest()))
    one, other = (Resolver({"mine": bucket}, tmp_path, cache_gib=1e6 / 2**30) for _ in range(2))
    with one.in_use():
        held = [one.path(source) for source in wanted[:4]]
        with other.in_use():
            other.path(wanted[4])
        assert sum(path.stat().st_size for path in (tmp_path / "assets" / "files").iterdir()) <= 1_000_000
        assert [sha256_of(path) for path in held] == [source.sha256 for source in wanted[:4]]
    assert not held[0].exists()


def test_an_address_that_no_file_has_is_no_way_out_of_the_cache(bucket: ObjectPath, tmp_path: Path) -> None:
    (bucket / "a.glb").put(json.dumps({}).encode())
    resolver = Resolver({"mine": bucket}, tmp_path)
    with pytest.raises(RenderError, match="not what the catalogue recorded"), resolver.in_use():
        resolver.path(file("a.glb", sha256="../../../stolen"))
    assert not list(tmp_path.rglob("stolen*"))
