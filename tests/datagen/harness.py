"""A bare stage for material tests: things in front of an orthographic camera under an even light, and its passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from datagen.blender import session
from datagen.blender.capture import captured
from manifests.codec.exr import read_exr

AOVS = {"basecolor": "COLOR", "geometric_normal": "COLOR", "roughness": "VALUE", "metallic": "VALUE", "mask": "VALUE"}
THRESHOLD = 0.5


@dataclass
class Picture:
    """Raw passes of one render by name, (H, W, C); `log` is what Blender printed."""

    passes: dict[str, np.ndarray]
    log: str = ""

    def at(self, name: str, column: int, row: int | None = None) -> np.ndarray:
        """Values of a pass at a pixel, the middle row by default."""
        plane = self.passes[name]
        return plane[plane.shape[0] // 2 if row is None else row, column]


@dataclass
class Stage:
    """Camera at +z looking down on the xy plane: one scene unit is `pixels_per_unit` pixels."""

    scene: Any
    workdir: Path
    width: int = 40
    height: int = 8
    pixels_per_unit: float = 8.0
    samples: int = 4
    _objects: list[Any] = field(default_factory=list)

    def plane(self, x: float, material: Any, z: float = 0.0, size: float = 1.0) -> Any:
        """A square plane with UVs over [0, 1], centred at (x, 0, z)."""
        half = size / 2
        mesh = bpy.data.meshes.new("plane")
        mesh.from_pydata([(-half, -half, 0), (half, -half, 0), (half, half, 0), (-half, half, 0)], [], [(0, 1, 2, 3)])
        uvs = mesh.uv_layers.new(name="UVMap").data
        for corner, uv in zip(uvs, ((0, 0), (1, 0), (1, 1), (0, 1)), strict=True):
            corner.uv = uv
        mesh.materials.append(material)
        return self.add(bpy.data.objects.new("plane", mesh), x, z)

    def add(self, thing: Any, x: float = 0.0, z: float = 0.0) -> Any:
        """Put an object into the scene at (x, 0, z)."""
        if not thing.users_scene:
            self.scene.collection.objects.link(thing)
        thing.location = (x, 0.0, z)
        return thing

    def render(self, light: float = 1.0) -> Picture:
        """Render one frame under a uniform environment of radiance `light`."""
        world = bpy.data.worlds.new("even")
        self.scene.world = world
        background = next(node for node in world.node_tree.nodes if node.bl_idname == "ShaderNodeBackground")
        background.inputs["Color"].default_value = (light, light, light, 1.0)
        camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        camera.data.type = "ORTHO"
        camera.data.ortho_scale = max(self.width, self.height) / self.pixels_per_unit
        camera.location = (0.0, 0.0, 10.0)
        self.scene.collection.objects.link(camera)
        self.scene.camera = camera
        return render_passes(self.scene, self.workdir, (self.width, self.height), self.samples)


def render_passes(scene: Any, workdir: Path, size: tuple[int, int], samples: int, bounces: int = 2) -> Picture:
    """Render the current frame, `size` (width, height), with all passes that materials are judged by."""
    layer = scene.view_layers[0]
    layer.name = "ViewLayer"
    layer.use_pass_normal = True
    layer.pass_alpha_threshold = THRESHOLD
    for name, kind in AOVS.items():
        aov = layer.aovs.add()
        aov.name, aov.type = name, kind
    cycles, image = scene.cycles, scene.render.image_settings
    cycles.samples, cycles.use_adaptive_sampling, cycles.use_denoising = samples, False, False
    cycles.max_bounces = cycles.diffuse_bounces = cycles.glossy_bounces = bounces
    cycles.transparent_max_bounces, cycles.shading_system = 8, False
    cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 1.0
    scene.render.resolution_x, scene.render.resolution_y = size
    image.media_type = "MULTI_LAYER_IMAGE"
    image.file_format, image.color_depth, image.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
    scene.render.filepath = str(workdir / "passes.exr")
    with captured() as log:
        bpy.ops.render.render(write_still=True, scene=scene.name)
    channels = read_exr((workdir / "passes.exr").read_bytes(), size[::-1])
    names = {"rgb": ("Combined", "RGB"), "normal": ("Normal", "XYZ")}
    names |= {name: (name, "RGB" if kind == "COLOR" else "X") for name, kind in AOVS.items()}
    passes = {
        name: np.stack([channels[f"ViewLayer.{layer_name}.{axis}"] for axis in axes], axis=-1)
        for name, (layer_name, axes) in names.items()
    }
    return Picture(passes, log.tail)


def on_stage(workdir: Path, act: Callable[[Stage], None], **size: Any) -> Picture:
    """Let `act` fill a fresh scene, render it, and clear everything away."""
    with session.current().scene() as scene:
        stage = Stage(scene, workdir, **size)
        act(stage)
        return stage.render()


def nodes_material(name: str = "material") -> tuple[Any, Any, Any]:
    """An empty node material: (material, its tree, its output node)."""
    material = bpy.data.materials.new(name)
    tree = material.node_tree
    tree.nodes.clear()
    return material, tree, tree.nodes.new("ShaderNodeOutputMaterial")


def shader(tree: Any, kind: str, **inputs: Any) -> Any:
    """Add a node and set its inputs by name, blanks for underscores; returns the node."""
    node = tree.nodes.new(kind)
    for name, value in inputs.items():
        socket = node.inputs[name.replace("_", " ")]
        if isinstance(value, bpy.types.NodeSocket):
            tree.links.new(value, socket)
        elif isinstance(value, Sequence) and len(value) == 3 and socket.type == "RGBA":
            socket.default_value = (*value, 1.0)
        else:
            socket.default_value = value
    return node
