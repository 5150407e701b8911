"""docs/reliability.md names tests that exist, and `make bench` writes a page's tables from what is printed."""

from pathlib import Path

from benchmarks.prove import named
from benchmarks.tables import rewritten

ROOT = Path(__file__).parents[2]


def test_every_row_of_the_fault_table_names_a_test_that_exists() -> None:
    missing = [f"{file}::{name}" for file, name in named() if f"def {name}(" not in (ROOT / file).read_text()]
    assert not missing and len(named()) >= 20


def test_a_page_gets_the_tables_that_its_benchmarks_print() -> None:
    page = (
        "## A\n\n```bash\npython -m benchmarks.one --n 3  # a minute\n```\n\nWords.\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\nAfter.\n\n"
        "## B\n\n```bash\npython -m benchmarks.two\n```\n\n## C\n\n| c |\n|---|\n| 5 |\n"
    )
    asked: list[str] = []

    def table(command: str) -> list[str]:
        asked.append(command)
        return ["| a | b |", "|---|---|", "| 3 | 4 |", "| 5 | 6 |"]

    assert rewritten(page, table=table)[0] == page.replace("| 1 | 2 |\n", "| 3 | 4 |\n| 5 | 6 |\n")
    assert asked == ["benchmarks.one --n 3"]
    assert rewritten(page, table=lambda _: ["| other |"])[0] == page
