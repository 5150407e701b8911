"""What `benchmarks.weights pack` knows of runs that started from packed weights."""

import json

from benchmarks.weights import packing


def test_a_card_knows_the_runs_and_data_before_packed_weights(tmp_path):
    first, run, last = (tmp_path / name for name in ("packed", "run", "run/renderer"))
    last.mkdir(parents=True)
    first.mkdir()
    learnt, judged = {"recipe": {"name": "first"}, "judge": False}, {"recipe": {"name": "judged"}, "judge": True}
    history = {"runs": [{"step": 1}, {"step": 2}], "datasets": [learnt, judged], "real": []}
    (first / "history.json").write_text(json.dumps(history))
    (first / "model_index.json").write_text(json.dumps({"training": {"step": 2, "config": {"start": "gone"}}}))
    (run / "run.json").write_text(json.dumps({"task": "inverse", "config": {"start": str(first)}, "datasets": []}))
    record = {"step": 3, "config": {"start": str(first)}}
    (last / "model_index.json").write_text(json.dumps({"training": record}))
    index, runs = packing._records(last)
    assert [one["step"] for one in runs] == [1, 2, 3]
    assert index["training"]["config"]["start"] == "/".join(first.parts[-2:])
    assert packing._datasets(last, "datasets") == [learnt]
