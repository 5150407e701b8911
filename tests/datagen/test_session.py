from __future__ import annotations

import os

import bpy
import pytest

from datagen.blender import devices, session
from datagen.blender.capture import captured, error_lines
from datagen.errors import RenderError


def test_a_scene_leaves_nothing_behind(cpu: None) -> None:
    before = session.snapshot()
    with session.current().scene() as scene:
        obj = bpy.data.objects.new("thing", bpy.data.meshes.new("thing"))
        scene.collection.objects.link(obj)
        obj.data.materials.append(bpy.data.materials.new("stuff"))
        bpy.data.images.new("picture", 8, 8)
        assert bpy.context.scene == scene
    assert session.snapshot() == before


def test_a_scene_that_fails_leaves_nothing_behind(cpu: None) -> None:
    before = session.snapshot()
    with pytest.raises(ZeroDivisionError), session.current().scene():
        bpy.data.meshes.new("thing")
        raise ZeroDivisionError
    assert session.snapshot() == before


def test_threads_are_fixed_only_when_asked_for() -> None:
    with session.start("CPU", threads=1).scene() as scene:
        assert (scene.render.threads_mode, scene.render.threads) == ("FIXED", 1)
    with session.start("CPU").scene() as scene:
        assert scene.render.threads_mode == "AUTO"


def test_the_cpu_is_always_there_and_last(cpu: None) -> None:
    found = devices.available()
    assert found[-1].kind == "CPU"
    assert found[-1].name


def test_a_device_that_is_not_there_is_an_error_and_not_the_cpu() -> None:
    missing = next(kind for kind in devices.ORDER if kind not in {device.kind for device in devices.available()})
    with pytest.raises(RenderError, match=f"no {missing} device here, only: .*CPU") as caught:
        session.start(missing)
    assert caught.value.reason == "device"


def test_a_device_that_was_switched_behind_our_back_is_noticed(cpu: None) -> None:
    with session.current().scene() as scene:
        scene.cycles.device = "GPU"
        with pytest.raises(RenderError, match="asked Cycles for CPU"):
            devices.check(session.current().device, scene)


def test_warm_up_renders(cpu: None) -> None:
    session.current().warm_up()


def test_capture_takes_what_c_code_prints_and_gives_the_terminal_back(capfd: pytest.CaptureFixture[str]) -> None:
    with captured() as log:
        os.write(1, b"Error: no file\n")
        os.write(2, b"00:01.037  cycles           | WARNING HIPEW initialization failed: Error opening it\n")
        os.write(1, b"Saved: Error.exr\n")
        with captured() as inner:
            os.write(1, b"within\n")
    os.write(1, b"after\n")
    assert log.errors == ["Error: no file"]
    assert "Saved" in log.tail and "after" not in log.tail and "within" not in log.tail
    assert inner.tail == "within\n"
    assert capfd.readouterr().out == "after\n"


@pytest.mark.parametrize(
    "line",
    [
        "00:12.345  cycles           | ERROR Out of memory",
        "ERROR (cycles): failed to load kernel",
        "CUDA error: Illegal address in cuCtxSynchronize()",
        "System is out of GPU memory",
        "Error: Cannot read file",
    ],
)
def test_error_lines_of_cycles_and_importers_are_recognised(line: str) -> None:
    assert error_lines(f"Fra: 1\n{line}\n") == [line]
