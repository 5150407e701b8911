"""The studio's page: the picture on the left, the tools on the right. It shows what `Workshop` makes and no more.

gradio (the extra `studio`) is imported on use. Whatever takes time waits its turn in one queue.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import gradio as gr
import numpy as np

from editing.lights import NamedLight, find_light
from editing.selection import TOLERANCE
from lightloom.saying import say, unexpected
from lightloom.studio.page_content import (
    CHANGES,
    LOOKS,
    MESHES,
    film_pixel,
    fitted,
    gbuffer_pictures,
    light_strip,
    lights,
    marked,
    material_values,
)
from lightloom.studio.project import Project
from lightloom.studio.workshop import Result, Workshop
from manifests.errors import InputError, LightloomError

Tool = Literal["light", "material", "object"]
Points = tuple[tuple[tuple[int, int], bool], ...]
"""Clicked pixels (x, y) of the first frame, in order, and whether what lies there is selected or taken away."""

ANEW, ADD, REMOVE = "selects anew", "adds", "takes away"
_VIDEOS = [".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif", ".mpg"]
_TEXTURES = [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"]
_PROGRESS = gr.Progress(track_tqdm=True)
CSS = """
.gradio-container { max-width: none !important; }
#canvas img { cursor: crosshair; touch-action: none; }
#mark { position: fixed; z-index: 99; pointer-events: none; border: 1px dashed #ffd278; border-bottom-width: 3px; }
#canvas img, #compare img { object-fit: contain; }
#lights .thumbnail-item { aspect-ratio: 2; }
#strip img { width: 100%; object-fit: cover; }
#told p { font-size: 1rem; }
footer { display: none !important; }
"""


_LABELS = {
    "change": "Change",
    "instance": "a click on an object",
    "mask": "a mask",
    "pick": "a click",
    "exclude": "a click that takes away",
    "tolerance": "Tolerance of the selection",
    "scale": "Longest side",
    "depth": "a distance",
}
"""What the page calls arguments that messages name."""


def label_of(field: str) -> str:
    """The words of the page for an argument."""
    return _LABELS.get(field, field.replace("_", " "))


def told[**P, R](work: Callable[P, R]) -> Callable[P, R]:
    """`work`, whose errors appear on the page as one line; those that are not ours in the terminal, too."""

    @wraps(work)
    def told_work(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except LightloomError as error:
            line = error.told(label_of)
        except Exception as error:
            line = unexpected(error)
            say(line, error=True)
        raise gr.Error(html.escape(line, quote=False), duration=None, print_exception=False)

    return told_work


class Page:
    """Builds the page and answers its events. State of a visitor lives in gradio's session state."""

    def __init__(self, workshop: Workshop) -> None:
        self._shop = workshop
        self._lights = lights()

    def build(self) -> gr.Blocks:
        """The page, not yet served."""
        with gr.Blocks(title="Lightloom studio", analytics_enabled=False, fill_width=True) as page:
            self._project = gr.State(None, delete_callback=_closed)
            self._points, self._result = gr.State(()), gr.State(None)
            self._tool, self._light = gr.State("light"), gr.State(self._lights[0])
            with gr.Row(equal_height=False):
                with gr.Column(scale=5, min_width=560):
                    self._views()
                    with gr.Row():
                        self._try = gr.Button("Try on the first frame", elem_id="try")
                        self._render = gr.Button("Render the clip", variant="primary", elem_id="render")
                    self._files = gr.File(
                        label="Download", file_count="multiple", interactive=False, elem_id="files", height=110
                    )
                    self._onward = gr.Button("Go on from this result", size="sm", elem_id="onward")
                with gr.Column(scale=3, min_width=380):
                    self._source()
                    with gr.Tabs(elem_id="tools"):
                        self._light_tool()
                        self._material_tool()
                        self._object_tool()
            self._wire()
        return page

    def _views(self) -> None:
        self._told = gr.Markdown("Open a clip to begin.", elem_id="told")
        with gr.Tabs(selected="picture", elem_id="views") as self._view:
            with gr.Tab("Picture", id="picture"):
                self._canvas = gr.Image(
                    label="First frame: click an object, or the place for a new one",
                    format="png",
                    height=560,
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="canvas",
                )
            with gr.Tab("Compare", id="compare"):
                self._slider = gr.ImageSlider(
                    label="Before | after",
                    format="png",
                    height=560,
                    max_height=560,
                    interactive=False,
                    elem_id="compare",
                )
                self._frame = gr.Slider(0, 1, 0, step=1, label="Frame", visible=False, elem_id="frame")
            with gr.Tab("Video", id="video"), gr.Row():
                self._before = gr.Video(label="Before", interactive=False, loop=True, elem_id="before")
                self._after = gr.Video(label="After", interactive=False, loop=True, autoplay=True, elem_id="after")
            with gr.Tab("G-buffers", id="gbuffers"):
                self._gbuffers = gr.Gallery(
                    label="Of the first frame", columns=3, height=560, format="png", interactive=False, elem_id="maps"
                )

    def _source(self) -> None:
        with gr.Accordion("Clip", open=True):
            self._upload = gr.File(label="Video", file_types=_VIDEOS, height=110, elem_id="upload")
            self._named = gr.Dropdown(list(self._shop.sources), value=None, label="or one of these", elem_id="named")

    def _light_tool(self) -> None:
        with gr.Tab("Light", id="light") as self._light_tab:
            self._gallery = gr.Gallery(
                [(light_strip(light.image), light.name) for light in self._lights],
                label="Light",
                columns=4,
                height=260,
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                elem_id="lights",
            )
            with gr.Row():
                self._own = gr.Button("This clip's own light", size="sm", elem_id="own")
                self._hdr = gr.UploadButton("Light from a file (.hdr, .exr)", file_types=[".hdr", ".exr"], size="sm")
            self._strip = gr.Image(
                light_strip(self._lights[0].image),
                label=self._lights[0].name,
                format="png",
                height=130,
                interactive=False,
                buttons=[],
                elem_id="strip",
            )
            self._facing = gr.Slider(-180, 180, 0, step=1, label="Rotate the light, degrees", elem_id="facing")
            self._turn = gr.Slider(-360, 360, 0, step=5, label="Turn over the clip, degrees")
            self._maps = gr.Checkbox(False, label="G-buffers of every frame too (mp4, png, exr)")

    def _material_tool(self) -> None:
        with gr.Tab("Material", id="material") as self._material_tab:
            gr.Markdown("Click an object in the picture, then say what it is to be made of.")
            self._click = gr.Radio([ANEW, ADD, REMOVE], value=ANEW, label="A click in the picture", elem_id="click")
            self._tolerance = gr.Slider(
                0.05, 0.95, TOLERANCE, step=0.05, label="Tolerance of the selection", elem_id="tolerance"
            )
            self._look = gr.Dropdown(list(LOOKS), value=None, label="Start from", elem_id="look")
            self._changes = gr.CheckboxGroup(list(CHANGES), value=list(CHANGES), label="Change", elem_id="changes")
            self._colour = gr.ColorPicker("#c8c8cc", label="Base colour", elem_id="colour")
            self._roughness = gr.Slider(0, 1, 0.2, step=0.01, label="Roughness", elem_id="roughness")
            self._metallic = gr.Slider(0, 1, 1.0, step=0.01, label="Metallic", elem_id="metallic")
            self._texture = gr.File(label="Texture in place of the colour", file_types=_TEXTURES, height=90)

    def _object_tool(self) -> None:
        with gr.Tab("Object", id="object") as self._object_tab:
            gr.Markdown(
                "Click the place in the picture where it is to stand. Once it was tried, drag it elsewhere, or move it "
                "with the arrow keys."
            )
            self._asset = gr.File(label="Drop a .glb", file_types=[".glb"], height=110, elem_id="asset")
            self._mesh = gr.Dropdown(list(MESHES), value=next(iter(MESHES)), label="or one of these", elem_id="mesh")
            self._scale = gr.Slider(
                0, 100, 0, step=1, label="Longest side, % of the picture; 0 is chosen for you", elem_id="size"
            )
            self._spin = gr.Slider(-180, 180, 0, step=1, label="Rotate, degrees")

    def _wire(self) -> None:
        slow: dict[str, Any] = {"concurrency_id": "render", "concurrency_limit": 1, "api_visibility": "private"}
        quick: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        opened = [self._project, self._told, self._canvas, self._before, self._gbuffers, self._points]
        cleared = [self._result, self._slider, self._frame, self._after, self._files, self._view]
        self._upload.upload(self._open_upload, [self._upload, self._project], [*opened, *cleared], **slow)
        self._named.select(self._open_named, [self._named, self._project], [*opened, *cleared], **slow)

        finished = [self._project, self._result]
        self._onward.click(self._go_on, finished, [*opened, *cleared], **slow)

        for tab, tool in ((self._light_tab, "light"), (self._material_tab, "material"), (self._object_tab, "object")):
            tab.select(lambda tool=tool: tool, None, self._tool, **quick)
        picked = [self._project, self._tool, self._points, self._tolerance, self._result]
        chosen = self._canvas.select(
            self._picked, [*picked, self._click], [self._points, self._canvas], trigger_mode="always_last", **quick
        )
        self._tolerance.release(self._again, picked, self._canvas, **quick)
        for tab in (self._material_tab, self._object_tab):
            tab.select(self._again, picked, self._canvas, **quick)

        light = [self._light, self._strip, self._facing]
        self._gallery.select(self._choose, None, light, **quick)
        self._hdr.upload(self._from_file, self._hdr, light, **quick)
        self._own.click(self._find_own, self._project, light, **slow)
        self._facing.change(
            told(lambda light, facing: light_strip(light.turned(facing).image)),
            [self._light, self._facing],
            self._strip,
            trigger_mode="always_last",
            **quick,
        )
        values = [self._colour, self._roughness, self._metallic]
        self._look.input(told(lambda look: LOOKS[look]), self._look, values, **quick)

        controls = [
            *(self._project, self._tool, self._points, self._light, self._facing, self._turn, self._maps),
            *(self._tolerance, self._changes, self._colour, self._texture, self._roughness, self._metallic),
            *(self._asset, self._mesh, self._scale, self._spin),
        ]
        made = [self._told, *cleared, self._canvas]
        self._try.click(self._try_it, controls, made, **slow)
        self._render.click(self._render_it, controls, made, **slow)
        told_there: dict[str, Any] = {"show_progress_on": self._told, "trigger_mode": "always_last"}  # clicks go on
        chosen.success(self._moved, [self._result, *controls], made, **told_there, **slow)
        shown = [self._project, self._result, self._frame]
        self._frame.release(self._compare, shown, self._slider, trigger_mode="always_last", **quick)

    @told
    def _open_upload(self, path: str, old: Project | None, _progress: gr.Progress = _PROGRESS) -> Any:
        return self._opened(path, old)

    @told
    def _open_named(self, name: str, old: Project | None, _progress: gr.Progress = _PROGRESS) -> Any:
        source = self._shop.found(self._shop.sources[name])
        again = old is not None and old.source == source  # the list tells of its choice once more when it is left
        return (gr.skip(),) * 12 if again else self._opened(source, old)

    @told
    def _go_on(self, old: Project | None, result: Result | None, _progress: gr.Progress = _PROGRESS) -> Any:
        if result is None or not result.whole:
            raise InputError("render the clip first", "its result can then be worked on")
        return self._opened(str(result.video), old)

    def _opened(self, source: str, old: Project | None) -> tuple[Any, ...]:
        project = self._shop.open(source)
        if old is not None and not Path(source).is_relative_to(old.folder):
            old.close()
        with project.film(whole=False) as film:
            picture = fitted(film.frame(0))
        said = html.escape(project.told)
        shown = (project, said, picture, str(project.playable), gbuffer_pictures(project.gbuffers), ())
        return (*shown, None, None, gr.update(visible=False, value=0), None, None, gr.update(selected="picture"))

    @told
    def _picked(
        self,
        project: Project | None,
        tool: Tool,
        points: Points,
        tolerance: float,
        result: Result | None,
        click: str,
        event: gr.SelectData,
    ) -> tuple[Points, np.ndarray]:
        project = _open(project)
        point = film_pixel((int(event.index[0]), int(event.index[1])), project.size)
        begins = tool != "material" or click == ANEW or not points
        points = ((point, True),) if begins else (*points, (point, click == ADD))
        return points, self._marked(project, tool, points, tolerance, result)

    @told
    def _again(
        self, project: Project | None, tool: Tool, points: Points, tolerance: float, result: Result | None
    ) -> Any:
        return gr.skip() if project is None or not points else self._marked(project, tool, points, tolerance, result)

    def _marked(
        self, project: Project, tool: Tool, points: Points, tolerance: float, result: Result | None
    ) -> np.ndarray:
        """The first frame with what is selected, or with the object that was put in, to be dragged."""
        if tool == "object" and result is not None and result.placed:
            return marked(self._shop.compare(project, result, 0)[1], None, points[-1:])
        mask = self._shop.select(project, *_sorted(points), tolerance)[1] if tool == "material" else None
        with project.film(whole=False) as film:
            return marked(film.frame(0), mask, points if tool == "material" else points[-1:])

    @told
    def _choose(self, event: gr.SelectData) -> tuple[Any, ...]:
        return _shown_light(self._lights[int(event.index)])

    @told
    def _from_file(self, path: str) -> tuple[Any, ...]:
        return _shown_light(find_light(path))

    @told
    def _find_own(self, project: Project | None) -> tuple[Any, ...]:
        return _shown_light(self._shop.own_light(_open(project)))

    @told
    def _try_it(self, _progress: gr.Progress = _PROGRESS, *controls: Any) -> tuple[Any, ...]:
        return self._made(False, *controls)

    @told
    def _render_it(self, _progress: gr.Progress = _PROGRESS, *controls: Any) -> tuple[Any, ...]:
        return self._made(True, *controls)

    @told
    def _moved(self, result: Result | None, *controls: Any) -> Any:
        """What was put in is moved: tried again where it stands now."""
        if result is None or not result.placed or controls[1] != "object":
            return (gr.skip(),) * 8
        return self._made(False, *controls)

    def _made(
        self,
        whole: bool,
        given: Project | None,
        tool: Tool,
        points: Points,
        light: NamedLight,
        facing: float,
        turn: float,
        maps: bool,
        tolerance: float,
        changes: Sequence[str],
        colour: str,
        texture: str | None,
        roughness: float,
        metallic: float,
        asset: str | None,
        mesh: str,
        scale: float,
        spin: float,
    ) -> tuple[Any, ...]:
        """The result of the tool in hand, as all that the page shows of it."""
        project, began = _open(given), time.monotonic()
        if tool == "light":
            result = self._shop.relight(project, light.turned(facing), turn=turn, gbuffers=maps, whole=whole)
        elif tool == "material":
            request, _ = self._shop.select(project, *_sorted(_clicked(points)), tolerance)
            change = material_values(changes, colour, texture, roughness, metallic)
            result = self._shop.edit(project, request, change, whole=whole)
        else:
            thing, size = asset or MESHES[mesh], f"{scale:g}%" if scale else None
            result = self._shop.insert(project, thing, _clicked(points)[-1][0], scale=size, rotate=spin, whole=whole)
        frames = f"{project.frames} frames" if whole else "the first frame"
        said = f"{project.name} · {result.told} · {frames} in {time.monotonic() - began:.1f} s"
        slider = gr.update(visible=whole and project.frames > 1, maximum=max(project.frames - 1, 1), value=0)
        video = str(result.video) if whole else None
        files = [str(path) for path in result.files] if whole else None
        pair = self._compare(project, result, 0)
        canvas = self._marked(project, tool, points, tolerance, result) if result.placed else gr.skip()
        view = gr.update(selected="picture" if result.placed and not whole else "compare")
        return html.escape(said), result, pair, slider, video, files, view, canvas

    @told
    def _compare(self, project: Project | None, result: Result | None, frame: float) -> tuple[np.ndarray, np.ndarray]:
        if result is None:
            raise InputError("nothing was rendered yet")
        before, after = self._shop.compare(_open(project), result, int(frame))
        return fitted(before), fitted(after)


def _open(project: Project | None) -> Project:
    if project is None:
        raise InputError("open a clip first")
    return project


def _clicked(points: Points) -> Points:
    if not points:
        raise InputError("click the picture first: an object to change, or the place for a new one")
    return points


def _sorted(points: Points) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pixels that are selected, and pixels that are taken away."""
    return [point for point, belongs in points if belongs], [point for point, belongs in points if not belongs]


def _closed(project: Project | None) -> None:
    if project is not None:
        project.close()


def _shown_light(light: NamedLight) -> tuple[Any, ...]:
    return light, gr.update(value=light_strip(light.image), label=Path(light.name).name), 0
