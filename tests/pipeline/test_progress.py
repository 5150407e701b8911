from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipeline.engine import RunReport
from pipeline.progress import ProgressBar, by_reason, duration


def test_failures_and_durations_in_words() -> None:
    assert by_reason(Counter()) == ""
    assert by_reason(Counter(crash=1, timeout=2)) == "3 failed (timeout 2, crash 1)"
    assert [duration(0.4), duration(59.6), duration(3 * 3600 + 62)] == ["0:00:00", "0:01:00", "3:01:02"]


def test_a_report_is_one_line() -> None:
    report = RunReport(Path("out"), 90, Counter(timeout=2), 60.0, 45, 2, 50)
    assert report.line() == (
        "out: 90 clips in 0:01:00 (90.0 clips/min), 2 failed (timeout 2); 45 of 50 items finished, 2 quarantined"
    )
    assert not report.complete


def test_the_bar_shows_rate_failures_and_what_was_there_before(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("datagen", total=10, done=4, show=True) as bar:
        bar.finished(clips=3)
        bar.failed("crash")
    last = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert "datagen:  60%" in last and "6/10" in last and "clips/min, 1 failed (crash 1)" in last


def test_a_log_file_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("datagen", total=3, done=0, show=True) as bar:
        for _ in range(3):
            bar.finished(clips=1)
            bar.show(workers=1)
    said = capsys.readouterr().err
    assert "\r" not in said and "\x1b" not in said and len(said.splitlines()) < 6
    assert all(len(line) <= 120 and line.startswith("datagen: ") for line in said.splitlines())


def test_time_left_counts_from_the_first_item(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("pipeline.progress.time.monotonic", lambda: now[0])
    with ProgressBar("datagen", total=110, done=10, show=True) as bar:
        bar.show(workers=0)
        assert "nothing finished yet, no failures, 0 workers" in capsys.readouterr().err
        now[0] += 1000  # workers start
        for _ in range(11):
            bar.finished(clips=1)
            now[0] += 6
        now[0] -= 6
    assert "21/110" in (said := capsys.readouterr().err) and "0:08:54 left" in said
