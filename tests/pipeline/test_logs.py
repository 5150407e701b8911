from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline.actors import LOG_BYTES, TAIL_BYTES, tail

WRITER = """
import os, sys
from pathlib import Path
from pipeline.actors import OutputLog
log = OutputLog(Path(sys.argv[1]))
{body}
"""


def write(path: Path, body: str) -> int:
    return subprocess.run([sys.executable, "-c", WRITER.format(body=body), str(path)], check=False).returncode


def test_everything_a_process_prints_is_in_its_log_by_item(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, "log.begin(1); print('one'); log.begin(2); os.write(2, b'native two'); print('two', file=sys.stderr)")
    assert tail(path, 2) == "native twotwo"
    assert tail(path, 1).startswith("one")
    assert tail(path).endswith("two")


def test_a_crash_leaves_its_python_stack_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert write(path, "log.begin(3); import faulthandler; faulthandler._sigsegv()") == -11
    assert "Segmentation fault" in tail(path, 3)


def test_a_log_and_its_tail_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, "for item in range(8): log.begin(item); print('x' * 400_000)")
    assert path.stat().st_size < LOG_BYTES + 2 * 400_100
    assert len(tail(path, 7)) == TAIL_BYTES


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none", 1) == ""
