"""Runs every slow proof, and the test of every row of docs/reliability.md; prints one table. `make prove` calls it.

    python -m benchmarks.prove [-k WORDS] [--again]

Each file has a process of its own: Blender and torch crash each other in one. What passed is kept in out/prove.json
with a digest of the tree: the same command goes on after an interruption, and begins anew where a file has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
_KEPT = ROOT / "out" / "prove.json"
_ROW = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def named() -> set[tuple[str, str]]:
    """File and name of the tests that the table of faults names."""
    return set(_ROW.findall((ROOT / "docs" / "reliability.md").read_text()))


def slow_files() -> set[str]:
    """The test files that hold slow proofs."""
    found = (path for path in (ROOT / "tests").rglob("test_*.py") if "mark.slow" in path.read_text())
    return {str(path.relative_to(ROOT)) for path in found}


def prove(file: str, words: str) -> dict[str, tuple[str, float]]:
    """Run the proofs of a file, each once; result and seconds of each by name."""
    only = ["-k", words] if words else []
    results = outcomes([file, "-m", "slow", *only])
    rows = [f"{file}::{name}" for where, name in sorted(named()) if where == file]
    if rows:
        done = [f"--deselect={file}::{name}" for name in results]
        results |= outcomes([*rows, "-m", "", *done, *only])
    return results


def outcomes(arguments: list[str]) -> dict[str, tuple[str, float]]:
    """What pytest says of each test; one failure that names the file, where it says nothing."""
    with tempfile.TemporaryDirectory(prefix="lightloom-prove-") as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
        code = subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode
        if not report.exists():
            return {f"(pytest ended with {code})": ("failure", 0.0)}
        found = {}
        for case in ElementTree.parse(report).iter("testcase"):
            bad = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
            found[case.get("name", "")] = (bad[0] if bad else "passed", float(case.get("time", "0")))
        return found


def tree_digest() -> str:
    """Of all files that git tracks or would, as they are now."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    digest = hashlib.sha256()
    for path in (ROOT / name for name in sorted(filter(None, names))):
        if path.is_file():
            digest.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


class Passed:
    """Results by file, of one tree and one choice of tests; kept on disk."""

    def __init__(self, words: str, again: bool) -> None:
        self._of = [tree_digest(), words]
        kept = json.loads(_KEPT.read_text()) if _KEPT.is_file() and not again else {}
        self.results: dict[str, dict[str, tuple[str, float]]] = kept["results"] if kept.get("of") == self._of else {}

    def keep(self, file: str, results: dict[str, tuple[str, float]]) -> None:
        """Results of a file, none of which failed."""
        self.results[file] = results
        _KEPT.parent.mkdir(exist_ok=True)
        _KEPT.write_text(json.dumps({"of": self._of, "results": self.results}, indent=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", dest="words", default="", help="only tests whose names fit, as pytest's -k")
    parser.add_argument("--again", action="store_true", help="also what passed before, of the same tree")
    options = parser.parse_args()
    passed = Passed(options.words, options.again)
    began, failed = time.time(), 0
    print("| proof | result | seconds |\n|---|---|---|", flush=True)
    for file in sorted(slow_files() | {where for where, _ in named()}):
        before = file in passed.results
        results = passed.results[file] if before else prove(file, options.words)
        bad = [name for name, (result, _) in results.items() if result in ("failure", "error")]
        failed += len(bad)
        if not before and not bad:
            passed.keep(file, results)
        for name, (result, seconds) in results.items():
            print(f"| `{file}::{name}` | {result}{', before' if before else ''} | {seconds:.0f} |", flush=True)
    print(f"\n{failed} failed, {(time.time() - began) / 60:.0f} minutes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
