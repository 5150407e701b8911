import gzip
import json
from pathlib import Path

import pytest

from manifests.errors import SpecError
from scenes.catalogue import Catalogue, assign_split
from scenes.providers.objaverse import cache_folder, lvis_uids, objaverse_catalogue
from tests.scenes.assetfiles import glb

UIDS = ("aaa", "bbb", "ccc")


def reasons(catalogue: Catalogue) -> dict[str, str]:
    return {problem.path: problem.reason for problem in catalogue.problems}


def index(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache as the package leaves it: three objects, two of them in LVIS, one more in the index but not there."""
    root = tmp_path / "hf-objaverse-v1"
    for uid in UIDS:
        glb(root / "glbs" / "000-001" / f"{uid}.glb", uid)
    index(root / "object-paths.json.gz", {uid: f"glbs/000-001/{uid}.glb" for uid in (*UIDS, "gone")})
    index(root / "lvis-annotations.json.gz", {"mug": ["aaa", "gone"], "chair": ["bbb"]})
    index(
        root / "metadata" / "000-001.json.gz",
        {
            "aaa": {
                "license": "by",
                "user": {"displayName": "Ann", "username": "a"},
                "viewerUrl": "https://example.org/a",
            },
            "bbb": {"license": "by-nc", "user": {"username": "bob"}},
            "ccc": {},
        },
    )
    return tmp_path


def test_lvis_objects_that_are_there_are_listed_with_licence_and_author(cache):
    catalogue = objaverse_catalogue(cache)
    assert catalogue.problems == ()
    first, second = catalogue.assets
    assert (first.uid, first.licence, first.author, first.url) == (
        "objaverse/aaa",
        "CC-BY-4.0",
        "Ann",
        "https://example.org/a",
    )
    assert (second.uid, second.licence, second.author, second.url) == ("objaverse/bbb", "CC-BY-NC-4.0", "bob", "")
    assert (first.mesh.path, first.mesh.provider, first.flags) == ("glbs/000-001/aaa.glb", "objaverse", ("unscored",))
    assert first.split == assign_split("objaverse/aaa")
    assert len(first.sha256) == 64
    assert catalogue.roots == {"objaverse": (cache / "hf-objaverse-v1").resolve()}


def test_the_inner_folder_is_accepted_too(cache):
    inner = cache / "hf-objaverse-v1"
    assert cache_folder(cache) == cache_folder(inner) == inner
    assert objaverse_catalogue(inner).digest == objaverse_catalogue(cache).digest


def test_every_object_is_listed_on_request(cache):
    catalogue = objaverse_catalogue(cache, lvis_only=False)
    assert [asset.uid for asset in catalogue.assets] == ["objaverse/aaa", "objaverse/bbb", "objaverse/ccc"]
    assert (catalogue["objaverse/ccc"].licence, catalogue["objaverse/ccc"].author) == ("unknown", "")


@pytest.mark.parametrize("name", ["object-paths.json.gz", "lvis-annotations.json.gz", "metadata/000-001.json.gz"])
@pytest.mark.parametrize("damage", ["cut", "missing", "text", "list"])
def test_a_broken_index_is_one_problem_and_the_objects_are_still_listed(cache, name, damage):
    path = cache / "hf-objaverse-v1" / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_bytes(b"<html>")
    else:
        index(path, ["not", "a", "mapping"])
    catalogue = objaverse_catalogue(cache)
    expected = {"lvis-annotations.json.gz": list(UIDS)}.get(name, ["aaa", "bbb"])
    assert [asset.uid for asset in catalogue.assets] == [f"objaverse/{uid}" for uid in expected]
    if damage != "list":
        assert name in reasons(catalogue)
    if name.startswith("metadata"):
        assert {asset.licence for asset in catalogue.assets} == {"unknown"}


def test_cut_off_objects_are_problems(cache):
    path = cache / "hf-objaverse-v1" / "glbs" / "000-001" / "aaa.glb"
    path.write_bytes(path.read_bytes()[:20])
    catalogue = objaverse_catalogue(cache)
    assert [asset.uid for asset in catalogue.assets] == ["objaverse/bbb"]
    assert reasons(catalogue)["glbs/000-001/aaa.glb"].startswith("cut off")


def test_paths_and_links_that_leave_the_cache_are_refused(cache):
    root = cache / "hf-objaverse-v1"
    outside = glb(cache / "outside.glb", "outside")
    (root / "glbs" / "000-001" / "bbb.glb").unlink()
    (root / "glbs" / "000-001" / "bbb.glb").symlink_to(outside)
    index(root / "object-paths.json.gz", {"aaa": "../outside.glb", "bbb": "glbs/000-001/bbb.glb", "ccc": 7})
    catalogue = objaverse_catalogue(cache, lvis_only=False)
    assert len(catalogue) == 0
    assert {problem.reason for problem in catalogue.problems} == {
        "path of aaa leaves the cache",
        "path of ccc leaves the cache",
        "a link that leaves the folder is not followed",
    }


@pytest.mark.parametrize("facts", [None, 3, {"license": 4, "user": "x", "uri": None}, {"user": {"displayName": 5}}])
def test_every_annotation_is_optional_and_may_be_of_any_type(cache, facts):
    index(cache / "hf-objaverse-v1" / "metadata" / "000-001.json.gz", {"aaa": facts})
    asset = objaverse_catalogue(cache)["objaverse/aaa"]
    assert (asset.licence, asset.author, asset.url) == ("unknown", "", "")


def test_lvis_lists_of_odd_shape_are_passed_over():
    assert lvis_uids({"mug": ["a", 3, None], "cup": "abc", "pan": ["b"]}) == {"a", "b"}
    assert lvis_uids(None) == lvis_uids([]) == set()


def test_no_cache_is_one_clear_error(tmp_path):
    with pytest.raises(SpecError, match="no Objaverse cache"):
        objaverse_catalogue(tmp_path)


def test_download_fetches_what_is_missing_through_the_package(cache, monkeypatch):
    """The package itself runs; only its one network call is answered from a local folder."""
    import objaverse

    root = cache / "hf-objaverse-v1"
    index(root / "lvis-annotations.json.gz", {"mug": ["aaa", "ddd", "eee"]})
    index(root / "object-paths.json.gz", {uid: f"glbs/000-002/{uid}.glb" for uid in ("ddd", "eee")})
    served = {
        "metadata/000-002.json.gz": index(cache / "served.json.gz", {"ddd": {"license": "cc0"}, "eee": {}}),
        "glbs/000-002/ddd.glb": glb(cache / "ddd.glb", "ddd"),
        "glbs/000-002/eee.glb": glb(cache / "eee.glb", "eee"),
    }
    fetched = []

    def answer(url: str, target: str) -> None:
        name = next(name for name in served if url.endswith(name))
        fetched.append(name)
        Path(target).write_bytes(served[name].read_bytes())

    monkeypatch.setattr(objaverse.urllib.request, "urlretrieve", answer)
    monkeypatch.setattr(objaverse, "BASE_PATH", objaverse.BASE_PATH)
    monkeypatch.setattr(objaverse, "_VERSIONED_PATH", objaverse._VERSIONED_PATH)
    catalogue = objaverse_catalogue(cache, download=5)
    assert sorted(fetched) == sorted(served)
    assert [asset.uid for asset in catalogue.assets] == ["objaverse/ddd", "objaverse/eee"]
    assert catalogue["objaverse/ddd"].licence == "CC0-1.0"
    fetched.clear()
    objaverse_catalogue(cache, download=5)
    assert fetched == []


def test_a_failed_download_is_one_clear_error(cache, monkeypatch):
    import objaverse

    def refuse(url: str, target: str) -> None:
        raise OSError("no route to host")

    index(cache / "hf-objaverse-v1" / "lvis-annotations.json.gz", {"mug": ["gone"]})
    monkeypatch.setattr(objaverse.urllib.request, "urlretrieve", refuse)
    monkeypatch.setattr(objaverse, "BASE_PATH", objaverse.BASE_PATH)
    monkeypatch.setattr(objaverse, "_VERSIONED_PATH", objaverse._VERSIONED_PATH)
    with pytest.raises(SpecError, match="no route to host; is this machine online"):
        objaverse_catalogue(cache, download=1)
