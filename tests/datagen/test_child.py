"""A child process finds our rooms, ends in time, and says why it failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.child import run_python


def test_a_child_finds_the_rooms_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "mine.py").write_text("word = 'found'\n")
    ended = run_python("-c", "import manifests.errors, mine; print(mine.word)")
    assert (ended.code, ended.output.strip()) == (0, "found")


def test_a_failure_is_told_by_its_last_line_or_its_code() -> None:
    ended = run_python("-c", "import sys; print('1st\\n2nd\\n', file=sys.stderr); sys.exit(3)")
    assert (ended.code, ended.last_line, ended.why) == (3, "2nd", "2nd")
    silent = run_python("-c", "import os; os.kill(os.getpid(), 9)")
    assert (silent.code, silent.last_line, silent.why) == (-9, "", "the process ended with code -9")


def test_a_child_that_takes_too_long_is_ended() -> None:
    with pytest.raises(TimeoutError, match=r"no end after 0\.5 seconds"):
        run_python("-c", "import time; time.sleep(60)", seconds=0.5)
