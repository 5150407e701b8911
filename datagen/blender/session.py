"""The one Blender of this process: clean at the start, clean after every scene, on the device that was asked for."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import bpy

from datagen.blender import devices
from datagen.blender.capture import Log, captured
from manifests.errors import RenderError

_COLLECTIONS = tuple(p.identifier for p in bpy.data.bl_rna.properties if p.type == "COLLECTION")
_ADDONS = {"cycles", "io_scene_gltf2", "io_scene_fbx"}


class Session:
    """Blender with factory settings and the add-ons that rendering and importing need, on one device.

    Its own temporary folder is made in `temporary`, if not in the system's, where that of a killed process would stay.

    Attributes:
        device: what Cycles renders on, asserted before every render.
        threads: CPU threads of a render, 0 for all.
    """

    def __init__(
        self, device: devices.Kind | Literal["auto"] = "auto", threads: int = 0, temporary: Path | None = None
    ) -> None:
        with captured():
            bpy.ops.wm.read_factory_settings(use_empty=True)
            if temporary is not None:
                bpy.context.preferences.filepaths.temporary_directory = str(temporary)
            for name in {addon.module for addon in bpy.context.preferences.addons} - _ADDONS:
                bpy.ops.preferences.addon_disable(module=name)
            self.device = devices.choose(device)
        space = bpy.data.colorspace.working_space
        if space != "Linear Rec.709":
            raise RenderError(
                "device", f"Blender works in {space}, not in Linear Rec.709", "unset OCIO and start again"
            )
        self.threads = threads

    @contextmanager
    def scene(self) -> Iterator[Any]:
        """Yield an empty scene in the window, set up for this device; afterwards it and all it brought is gone."""
        window = bpy.context.window
        before, home = snapshot(), window.scene
        scene = bpy.data.scenes.new("Scene")
        window.scene = scene
        try:
            self._prepare(scene)
            yield scene
        finally:
            scene.render.use_persistent_data = False  # frees Cycles' copy of the scene
            window.scene = home
            purge(before)

    def _prepare(self, scene: Any) -> None:
        scene.render.engine = "CYCLES"
        scene.cycles.device = devices.scene_device(self.device)
        scene.cycles.denoising_use_gpu = self.device.kind != "CPU"
        if self.threads:
            scene.render.threads_mode = "FIXED"
            scene.render.threads = self.threads
        devices.check(self.device, scene)

    def warm_up(self) -> None:
        """Render one pixel, so that kernels are compiled before the first scene is timed (OptiX: minutes)."""
        with self.scene() as scene:
            scene.render.resolution_x = scene.render.resolution_y = 8
            scene.cycles.samples = 1
            camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
            scene.collection.objects.link(camera)
            scene.camera = camera
            self.render(scene, "warming up")

    def render(self, scene: Any, what: str, **options: bool) -> Log:
        """Run `bpy.ops.render.render` on exactly this device; return what it printed.

        Raises RenderError (`render-error`), beginning with `what`, for errors that are raised and for errors that
        are only printed; `device` when the scene would render on another device.
        """
        devices.check(self.device, scene)
        failure = ""
        with captured() as log:
            try:
                bpy.ops.render.render(scene=scene.name, **options)
            except RuntimeError as error:
                failure = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        if failure or log.errors:
            raise RenderError("render-error", f"{failure or log.errors[0]}", where=what, log_tail=log.tail)
        return log


_current: list[Session] = []


def start(device: devices.Kind | Literal["auto"] = "auto", threads: int = 0, temporary: Path | None = None) -> Session:
    """Start Blender afresh; the session is what `current` returns from then on."""
    _current[:] = [Session(device, threads, temporary)]
    return _current[0]


def current() -> Session:
    """Return the running session; without one, start it on the fastest device."""
    return _current[0] if _current else start()


def snapshot() -> dict[str, set[int]]:
    """Return the identities of all datablocks there are."""
    return {name: {block.session_uid for block in getattr(bpy.data, name)} for name in _COLLECTIONS}


def purge(before: dict[str, set[int]]) -> None:
    """Remove every datablock that is not in the snapshot `before`."""
    bpy.data.batch_remove(
        [block for name in _COLLECTIONS for block in getattr(bpy.data, name) if block.session_uid not in before[name]]
    )


def leave(main: Callable[[], int]) -> None:
    """Run `main` as a whole process and end it with its exit code, without Blender's own exit, which can crash."""
    code = 1
    try:
        code = main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        shutil.rmtree(bpy.app.tempdir, ignore_errors=True)
        os._exit(code)
