"""The folder provider: meshes, PBR texture folders and environment maps that lie in a folder of the user's own.

    catalogue = folder_catalogue(Path("assets"), "mine")

Every file that is not taken is in `catalogue.problems` with the reason. Meshes are unscored: they are sampled only
after `lightloom assets score` has opened them in Blender (`Catalogue.with_scores`).
"""

from __future__ import annotations

from pathlib import Path

from manifests.errors import SpecError
from scenes.catalogue import Asset, AssetProblem, Catalogue, Kind, assign_split
from scenes.licences import UNKNOWN
from scenes.providers.file_checks import (
    ENVIRONMENT_SUFFIXES,
    MESH_SUFFIXES,
    file_problem,
    image_problem,
    is_only_material,
    light_problem,
    place_of,
    sha256_of,
    shown,
    walk,
)
from scenes.providers.folder_licences import AssetRule, Sidecars
from scenes.spec import File, TextureSet
from scenes.texturesets import MAPS_FOLDER, TextureMaps, find_maps, is_map


def folder_catalogue(root: Path, name: str) -> Catalogue:
    """Catalogue of a folder; `name` becomes the provider's name and the first part of every uid.

    Splits go by content (meshes, textures) and by place (environments), so a renamed copy stays in its split.
    Raises SpecError if root is not a folder or the name is taken by a built-in provider.
    """
    if not root.is_dir():
        raise SpecError(f"{root} is not a folder")
    if name in ("builtin", "bpy", "objaverse") or not name or "/" in name:
        raise SpecError(f"{name!r} cannot be a folder's name in the catalogue", "choose another")
    if shown(str(root.resolve())) != str(root.resolve()):
        raise SpecError("the folder's path is not UTF-8", "rename it", where=root)
    scan = _Scan(root.resolve(), name)
    for folder, files, refused in walk(scan.root):
        for path, reason in refused:
            scan.refuse(path, reason)
        try:
            scan.take(folder, files)
        except OSError as error:
            scan.refuse(folder, f"cannot be read: {error.strerror}")
    return scan.catalogue()


class _Scan:
    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.sidecars = Sidecars(root)
        self.assets: list[Asset] = []
        self.problems: list[AssetProblem] = []
        self.seen: dict[str, str] = {}

    def refuse(self, path: Path, reason: str) -> None:
        self.problems.append(AssetProblem(provider=self.name, path=shown(self._relative(path)), reason=reason))

    def take(self, folder: Path, files: list[Path]) -> None:
        meshes = [path for path in files if path.suffix.lower() in MESH_SUFFIXES]
        bare = [path for path in meshes if is_only_material(path)]
        for path in meshes:
            if path not in bare:
                self._mesh(path)
        alone = len(bare) == len(meshes) and not self._belongs_to_parent(folder)
        maps = find_maps(folder) if alone else TextureMaps()
        if maps.usable:
            self._textures(folder, maps)
            return
        if maps.problem:
            self.refuse(folder, maps.problem)
        for path in bare:
            self.refuse(path, "holds a material and no geometry")
        for path in files:
            suffix = path.suffix.lower()
            if suffix == ".hdr" or (suffix in ENVIRONMENT_SUFFIXES and not is_map(path.name)):
                self._environment(path)

    def catalogue(self) -> Catalogue:
        for path, reason in self.sidecars.problems:
            self.refuse(path, reason)
        unlicensed = sum(asset.licence == UNKNOWN for asset in self.assets)
        if unlicensed:
            self.refuse(
                self.root,
                f"{unlicensed} assets have an unknown licence and are left out by the default policy; "
                "state it in lightloom-assets.yaml",
            )
        return Catalogue(self.assets, {self.name: self.root}, self.problems)

    def _mesh(self, path: Path) -> None:
        if (reason := file_problem(path)) is not None:
            self.refuse(path, reason)
            return
        sha256 = sha256_of(path)
        if path.suffix.lower() in _SEVERAL_FILES or self._is_new(path, sha256):
            self._add(path, sha256, kind="mesh", score=0.0, flags=("unscored",), roles=("object",))

    def _environment(self, path: Path) -> None:
        if (reason := file_problem(path)) is not None:
            self.refuse(path, reason)
            return
        sha256 = sha256_of(path)
        if self._is_new(path, sha256):
            if (reason := light_problem(path)) is not None:
                self.refuse(path, reason)
                return
            self._add(path, sha256, kind="environment", roles=("any",))

    def _textures(self, folder: Path, maps: TextureMaps) -> None:
        fields = maps.files
        for path in fields.values():
            if (reason := image_problem(path)) is not None:
                self.refuse(folder, reason)
                return
        sha256 = sha256_of(*sorted(fields.values()))
        if not self._is_new(folder, sha256):
            return
        flags = [f"no-{name}" for name in ("normal", "metallic") if not fields.keys() & _SOURCES[name]]
        if "normal_dx" in fields and "normal" not in fields:
            flags.append("normal-dx")
        roles = ("object", "primitive") if "opacity" in fields else ("any",)
        self._add(folder, sha256, kind="material", roles=roles, flags=tuple(flags))

    def _add(
        self,
        path: Path,
        sha256: str,
        *,
        kind: Kind,
        roles: tuple[str, ...],
        score: float = 1.0,
        flags: tuple[str, ...] = (),
    ) -> None:
        rule, relative = self.sidecars.rule(path), self._relative(path)
        uid = self.name if relative == "." else f"{self.name}/{relative}"
        file = File(uid=uid, provider=self.name, path=relative, sha256=sha256)
        place = (rule.place or place_of(path.stem)) if kind == "environment" else ""
        self.assets.append(
            Asset(
                uid=uid,
                kind=kind,
                provider=self.name,
                licence=rule.licence,
                author=rule.author,
                url=rule.url,
                sha256=sha256,
                place=place,
                split=assign_split(place or sha256),
                roles=roles,
                mesh=file if kind == "mesh" else None,
                material=_texture_set(file, rule) if kind == "material" else None,
                environment=file if kind == "environment" else None,
                score=score,
                flags=flags,
            )
        )

    def _is_new(self, path: Path, sha256: str) -> bool:
        first = self.seen.setdefault(sha256, self._relative(path))
        if first != self._relative(path):
            self.refuse(path, f"same content as {first}")
        return first == self._relative(path)

    def _belongs_to_parent(self, folder: Path) -> bool:
        """Whether a `textures` folder is part of the model or the texture set in the folder above."""
        if folder.name.lower() != MAPS_FOLDER or folder == self.root:
            return False
        beside = (path for path in folder.parent.iterdir() if path.suffix.lower() in MESH_SUFFIXES and path.is_file())
        return find_maps(folder.parent) != TextureMaps() or any(not is_only_material(path) for path in beside)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


_SEVERAL_FILES = {".gltf", ".obj", ".usda"}  # equal ones may still have different buffers or textures beside them
_SOURCES = {"normal": {"normal", "normal_dx"}, "metallic": {"metallic", "packed"}}


def _texture_set(file: File, rule: AssetRule) -> TextureSet:
    return TextureSet(uid=file.uid, provider=file.provider, path=file.path, sha256=file.sha256, size=rule.size)
