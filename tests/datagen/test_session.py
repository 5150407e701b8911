from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import bpy
import pytest

from datagen.blender import devices, session
from datagen.blender.capture import captured, error_lines
from manifests.errors import RenderError


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


def test_a_process_leaves_with_its_exit_code_and_all_that_it_printed_and_no_file(tmp_path: Path) -> None:
    script = """
from datagen.blender import session
def main():
    session.start("CPU")
    print("printed", flush=False)
    raise SystemExit(3)
session.leave(main)
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    left = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert left.returncode == 3
    assert left.stdout.splitlines()[-1] == "printed"
    assert not list(tmp_path.iterdir())


def test_blenders_temporary_folder_lies_where_it_is_told(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from datagen.blender import session
import bpy
session.start("CPU", temporary=Path({str(tmp_path)!r}))
print(bpy.app.tempdir)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert Path(said.stdout.splitlines()[-1]).parent == tmp_path


def test_a_studios_colour_configuration_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "config.ocio").write_text(
        "ocio_profile_version: 2\nroles: {scene_linear: ACEScg, default: ACEScg}\n"
        "displays:\n  sRGB: [!<View> {name: Raw, colorspace: ACEScg}]\n"
        "colorspaces:\n  - !<ColorSpace> {name: ACEScg}\n"
    )
    environment = {**os.environ, "OCIO": str(tmp_path / "config.ocio")}
    ours = [sys.executable, "-c", "from datagen.blender import session; session.start('CPU')"]
    assert subprocess.run(ours, env=environment, capture_output=True, check=False).returncode == 0
    before = [sys.executable, "-c", "import bpy; from datagen.blender import session; session.start('CPU')"]
    refused = subprocess.run(before, env=environment, capture_output=True, text=True, check=False)
    assert "Blender works in ACEScg, not in Linear Rec.709" in refused.stderr
