"""Runs the benchmarks of a page and puts what they print in place of the page's tables, so that no figure is by hand.

    python -m benchmarks.tables [docs/benchmarks.md] [--only WORD]

A benchmark is a block of bash that is one `python -m benchmarks.NAME ...`; its table is the next one below, up to the
following heading. One whose first line is not the printed one's is left alone, and said.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

_SECTION = re.compile(
    r"```bash\n(python -m (benchmarks\.[^\n#]*?)) *(?:#[^\n]*)?\n```\n((?:(?!\n#|```).)*?\n)((?:\|[^\n]*\n)+)",
    re.DOTALL,
)


def printed_table(command: str) -> list[str]:
    """The lines of the table that a benchmark prints."""
    done = subprocess.run([sys.executable, "-m", *command.split()], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line.startswith("|")]


def rewritten(page: str, only: str = "", table=printed_table) -> tuple[str, list[str]]:
    """The page with the tables of its benchmarks made anew, and a line on each benchmark."""
    told = []

    def replace(match: re.Match[str]) -> str:
        command, old = match[2].strip(), match[4]
        if only not in command:
            return match[0]
        try:
            new = table(command)
        except subprocess.CalledProcessError as error:
            told.append(f"{command}: failed: {(error.stderr or '').strip().splitlines()[-1:]}")
            return match[0]
        if not new or new[0] != old.splitlines()[0]:
            told.append(f"{command}: prints another table than the page has")
            return match[0]
        told.append(f"{command}: written")
        return match[0][: -len(old)] + "\n".join(new) + "\n"

    return _SECTION.sub(replace, page), told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, nargs="?", default=Path("docs/benchmarks.md"))
    parser.add_argument("--only", default="", help="a word of the commands that are run")
    options = parser.parse_args()
    page, told = rewritten(options.page.read_text(), options.only)
    options.page.write_text(page)
    print("\n".join(told))


if __name__ == "__main__":
    main()
