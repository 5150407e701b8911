"""The way out for text: commands `say` what they have to say, so that a name in a file cannot drive a terminal."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from manifests.untrusted import printable


def say(*lines: object, error: bool = False) -> None:
    """Print each of `lines` as a line of its own, on stderr if it is an `error`; what would break out is escaped."""
    if not lines:
        return
    stream = sys.stderr if error else sys.stdout
    print(*(printable(str(line)) for line in lines), sep="\n", file=stream, flush=error)


def unexpected(error: Exception) -> str:
    """An error that is none of ours, as one line: what, where in the code, and what to do."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno}); this should not happen: "
        "please report it"
    )
