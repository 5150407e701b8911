from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import msgspec
import pytest

from datagen.resolver import Resolver
from manifests.errors import RenderError
from scenes.spec import File, TextureSet


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    root = tmp_path / "assets"
    (root / "maps").mkdir(parents=True)
    (root / "maps" / "a.exr").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"content")
    (root / "link").symlink_to(tmp_path / "secret")
    return Resolver({"mine": root}, tmp_path / "cache")


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
def test_what_cannot_be_used_is_refused_with_a_reason(resolver: Resolver, wanted: File, reason: str) -> None:
    with pytest.raises(RenderError, match="u: ") as caught:
        resolver.path(wanted)
    assert caught.value.reason == reason


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
