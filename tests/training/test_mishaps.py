"""What goes wrong around a run: mistakes that leave the folder free, runs that are over, full disks, wrong starts."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path

import pytest
from safetensors import SafetensorError

from lightloom import cli
from manifests.errors import DatasetError, DiskFull, InputError
from tests.training.sets import CLIPS, make_set
from tests.training.test_loop import SMALL, request_of
from training import run_state
from training.config import load_config
from training.run import TrainRequest, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("mishaps") / "set")


def test_a_start_that_failed_leaves_the_folder_free(folder: Path, tmp_path: Path) -> None:
    request = request_of(tmp_path / "typo", tmp_path / "run")
    with pytest.raises(DatasetError, match="neither a dataset"):
        train(request)
    assert train(request_of(folder, tmp_path / "run", optimise={"steps": 1})).step == 1


def test_a_run_that_is_over_makes_no_step(folder: Path, tmp_path: Path) -> None:
    train(request_of(folder, tmp_path / "run", optimise={"steps": 2}))
    again = train(request_of(folder, tmp_path / "run", optimise={"steps": 2}, resume=True))
    assert (again.step, again.made) == (2, 0)


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        if run_state.checkpoints(tmp_path / "run"):
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        written(*_)  # type: ignore[arg-type]

    written = run_state.save_file
    monkeypatch.setattr(run_state, "save_file", full)
    with pytest.raises(DiskFull):
        train(request_of(folder, tmp_path / "run", optimise={"steps": 4}, keep={"checkpoint": 2}))
    assert [path.name for path in run_state.checkpoints(tmp_path / "run")] == ["00000002"]


def test_a_renderer_of_another_kind_is_no_start(folder: Path, tmp_path: Path) -> None:
    forward = load_config("tiny", "forward", {"network": SMALL, "optimise": {"steps": 1, "batch": 2}})
    train(TrainRequest("forward", forward, (str(folder),), tmp_path / "forward"))
    with pytest.raises(InputError, match="is a forward renderer"):
        train(request_of(folder, tmp_path / "run", start=str(tmp_path / "forward" / "renderer")))


def test_the_command_line_says_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", "inverse", str(folder), str(tmp_path / "run"), "--preset", "debug", "--steps", "1"]
    assert cli.run([*command, "--batch", str(2 * CLIPS)]) == 0
    assert cli.run([*command, "--batch", str(2 * CLIPS), "--resume"]) == 0
    assert "has its 1 steps; nothing to do" in capsys.readouterr().out

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.run.train", interrupted)
    assert cli.run([*command, "--resume"]) == 1
    assert "with --resume goes on" in capsys.readouterr().err


def test_a_set_that_is_at_no_url_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/nope"
        assert cli.run(["train", "inverse", url, str(tmp_path / "run"), "--preset", "debug"]) == 1
        server.shutdown()
    assert f"lightloom: {url}/dataset.json: is not there\n" in capsys.readouterr().err
