"""Random numbers of a scene: each subsystem has a generator of its own, so that none depends on what others draw."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, index: int, subsystem: str, attempt: int = 0) -> np.random.Generator:
    """Random numbers of one subsystem of one scene; `attempt` counts draws that were thrown away before."""
    key = (zlib.crc32(subsystem.encode()), attempt)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index), spawn_key=key)))
