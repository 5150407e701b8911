"""The device that Cycles renders on: asked for by name or found in order of speed, never silently another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import bpy

from manifests.errors import RenderError

Kind = Literal["OPTIX", "CUDA", "HIP", "METAL", "ONEAPI", "CPU"]
ORDER: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Device:
    """`kind` as Cycles calls it, `name` as the driver calls it."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        """Return the form that is recorded in the manifest, such as "OPTIX NVIDIA L4"."""
        return f"{self.kind} {self.name}"


def available() -> list[Device]:
    """Devices that Cycles sees in this process, fastest kind first; the CPU is always the last."""
    return [Device(kind, entry.name) for kind in ORDER for entry in _entries(kind)[:1]]


def choose(request: Kind | Literal["auto"] = "auto") -> Device:
    """Switch Cycles to the requested kind of device, or to the fastest there is; one device, never GPU and CPU.

    Raises RenderError (`device`) when the requested kind is not there.
    """
    found = available()
    chosen = next((device for device in found if request in ("auto", device.kind)), None)
    if chosen is None:
        names = ", ".join(str(device) for device in found)
        raise RenderError("device", f"Cycles sees no {request} device here, only: {names}")
    preferences = _preferences()
    preferences.compute_device_type = "NONE" if chosen.kind == "CPU" else chosen.kind
    if chosen.kind != "CPU":
        used = _entries(chosen.kind)[0]
        for entry in preferences.devices:
            entry.use = entry == used
    check(chosen)
    return chosen


def check(device: Device, scene: Any = None) -> None:
    """Raise RenderError (`device`) unless Cycles, and `scene` if given, will use exactly this device."""
    preferences = _preferences()
    kind = "CPU" if preferences.compute_device_type == "NONE" else preferences.compute_device_type
    used = [entry.name for entry in preferences.devices if entry.use and entry.type == kind] if kind != "CPU" else []
    right = kind == device.kind and (kind == "CPU" or used == [device.name])
    if scene is not None:
        right = right and scene.render.engine == "CYCLES" and scene.cycles.device == scene_device(device)
    if not right:
        raise RenderError("device", f"asked Cycles for {device}, but it is set to {kind} {', '.join(used)}")


def scene_device(device: Device) -> Literal["CPU", "GPU"]:
    """Value of `scene.cycles.device` for a device."""
    return "CPU" if device.kind == "CPU" else "GPU"


def _preferences() -> Any:
    return bpy.context.preferences.addons["cycles"].preferences


def _entries(kind: Kind) -> list[Any]:
    preferences = _preferences()
    if kind == "CPU":
        preferences.get_devices_for_type("NONE")
        preferences.refresh_devices()
        return [entry for entry in preferences.devices if entry.type == "CPU"]
    if kind not in {name for name, *_ in preferences.get_device_types(bpy.context)}:
        return []
    return [entry for entry in preferences.get_devices_for_type(kind) if entry.type == kind]
