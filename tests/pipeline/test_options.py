from __future__ import annotations

import pytest

from manifests.errors import InputError
from pipeline.options import RunOptions, Share, share

GIB = 2**30


@pytest.mark.parametrize(
    "options, cpus, gpus, memory, expected",
    [
        (RunOptions(), 2, 0, 24 * GIB, Share(workers=1, cpus=2, gpus=0, placement=2)),
        (RunOptions(), 64, 0, 256 * GIB, Share(workers=8, cpus=8, gpus=0, placement=8)),
        (RunOptions(), 64, 0, 9 * GIB, Share(workers=2, cpus=32, gpus=0, placement=32)),
        (RunOptions(), 32, 4, 256 * GIB, Share(workers=4, cpus=8, gpus=1, placement=8)),
        (RunOptions(gpus_per_worker=0), 32, 4, 256 * GIB, Share(workers=4, cpus=8, gpus=0, placement=8)),
        (RunOptions(gpus_per_worker=0.5), 32, 4, 256 * GIB, Share(workers=8, cpus=4, gpus=0.5, placement=4)),
        (RunOptions(workers=3), 2, 0, 24 * GIB, Share(workers=3, cpus=1, gpus=0, placement=0.666)),
        (RunOptions(workers=2, cpus_per_worker=4), 4, 0, 24 * GIB, Share(workers=2, cpus=4, gpus=0, placement=2)),
    ],
)
def test_a_machine_is_shared_out(options: RunOptions, cpus: float, gpus: float, memory: float, expected: Share) -> None:
    assert share(options, cpus, gpus, memory) == expected


@pytest.mark.parametrize(
    "field, value",
    [("workers", -1), ("attempts", 0), ("time_limit_s", 0), ("max_failures", 1.5), ("budget_hours", float("inf"))],
)
def test_an_option_out_of_range_is_named(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"`{field}` is {value}; give ") as caught:
        RunOptions(**{field: value})
    assert caught.value.fields == (field,)
