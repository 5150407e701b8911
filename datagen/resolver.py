"""`Resolver`: from what a spec names to a file on this machine, and never to anything outside the provider's folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from manifests.errors import RenderError
from scenes.spec import File, TextureSet


def cache_folder(otherwise: Path) -> Path:
    """The user's cache folder for derived files, shared by workers and runs; `otherwise` where it cannot be written."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lightloom"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return otherwise
    return folder if os.access(folder, os.W_OK) else otherwise


@dataclass(frozen=True)
class Resolver:
    """Finds assets and holds derived files.

    Attributes:
        roots: the folder of each provider on this machine.
        cache: folder for files that are derived from specs alone (baked skies); safe to delete at any time.
    """

    roots: Mapping[str, Path]
    cache: Path
    _checked: set[tuple[str, str, int, int]] = field(default_factory=set, repr=False, compare=False)

    def path(self, source: File | TextureSet) -> Path:
        """Return the absolute path of a provider's file or texture folder.

        A file must have the content hash that the spec recorded, so that a spec always renders the same scene.
        Raises RenderError: `missing-asset` (no such provider or path), `unsafe-path` (it leaves the provider's
        folder, symbolic links included), `changed-asset` (other content than recorded).
        """
        if source.provider not in self.roots:
            raise RenderError("missing-asset", f"no folder is known for provider {source.provider!r}", where=source.uid)
        root = self.roots[source.provider].resolve()
        found = (root / source.path).resolve()
        if not found.is_relative_to(root):
            raise RenderError(
                "unsafe-path", f"{source.path!r} leaves the folder of {source.provider}", where=source.uid
            )
        if not found.exists():
            raise RenderError("missing-asset", f"{found} does not exist", where=source.uid)
        if isinstance(source, File) and source.sha256:
            self._check_content(source, found)
        return found

    def _check_content(self, source: File, path: Path) -> None:
        status = path.stat()
        identity = (str(path), source.sha256, status.st_size, status.st_mtime_ns)
        if identity in self._checked:
            return
        with path.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
        if actual != source.sha256:
            raise RenderError("changed-asset", f"{path} is not the file that the catalogue recorded", where=source.uid)
        self._checked.add(identity)
