"""`lightloom label` as a user runs it: help, and one clear line for each wrong input."""

from __future__ import annotations

from pathlib import Path

import pytest

from labeling.label_settings import Checkpoint, LabelSettings, SegmentOptions
from labeling.sources.footage import Discovery
from lightloom.cli import run
from manifests.errors import InputError
from pipeline.engine import RunReport
from pipeline.options import RunOptions
from tests.lightloom.torchlines import run_python


def test_help_names_the_three_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["label", "--help"])
    text = capsys.readouterr().out
    assert "run" in text and "plan" in text and "status" in text


def test_a_missing_source_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["label", "run", str(tmp_path / "none"), str(tmp_path / "out"), "--inverse", "x/y"]) == 1
    said = capsys.readouterr().err
    assert "no such file or folder" in said and len(said.splitlines()) == 1
    assert run(["label", "status", str(tmp_path)]) == 1
    assert "no dataset.json here" in capsys.readouterr().err


def test_a_wrong_checkpoint_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"not looked into yet")
    (tmp_path / "weights").mkdir()
    line = ["label", "run", "videos", "out", "--inverse", str(tmp_path / "weights")]
    code, _, said = run_python("from lightloom.cli import main; main()", tmp_path, line)
    assert code == 1 and not (tmp_path / "out").exists()
    assert said.startswith("lightloom: ") and len(said.splitlines()) == 1
    assert "a checkpoint has a folder unet" in said


def test_options_reach_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"not looked into")
    given: list[LabelSettings] = []

    def label(out: Path, found: Discovery, settings: LabelSettings, options: RunOptions) -> RunReport:
        given.append(settings)
        assert found.footage[0].licence == "CC0-1.0" and options.workers == 3
        raise InputError("seen")

    monkeypatch.setattr("labeling.label_run.label", label)
    monkeypatch.setattr(
        "lightloom.commands.label.checkpoint", lambda source, kind: Checkpoint(source, "", "tiny", "one-step", "")
    )
    line = ["label", "run", str(tmp_path), str(tmp_path / "out"), "--inverse", "owner/name", "--licence", "CC0-1.0"]
    chosen = ["--segments", "5", "--no-cuts", "--size", "0", "--fov", "60", "--checks", "mirror", "--workers", "3"]
    assert run([*line, *chosen]) == 1
    assert given[0].segments == SegmentOptions(count=5, cuts=False)
    assert (given[0].size, given[0].fov, given[0].checks) == (0, 60.0, ("mirror",))
    assert given[0].inverse.source == "owner/name"


def test_an_option_out_of_range_is_named_as_it_is_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, value in (("--segments", "0"), ("--min-motion", "2"), ("--size", "3")):
        assert run(["label", "run", str(tmp_path), str(tmp_path / "out"), option, value]) == 1
        assert f"{option} is {value}" in capsys.readouterr().err
