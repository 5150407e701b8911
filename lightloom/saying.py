"""The way out for text: commands `say` what they have to say, so that a name in a file cannot drive a terminal."""

from __future__ import annotations

import sys

from manifests.untrusted import printable


def say(*lines: object, error: bool = False) -> None:
    """Print each of `lines` as a line of its own, on stderr if it is an `error`; what would break out is escaped."""
    if not lines:
        return
    stream = sys.stderr if error else sys.stdout
    print(*(printable(str(line)) for line in lines), sep="\n", file=stream, flush=error)
