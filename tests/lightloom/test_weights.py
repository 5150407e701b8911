"""`benchmarks.weights`: what is packed loads, says what it is, and leaks nothing of the machine that trained it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.weights.rebuilding import SHARES, PhotoRebuild, Rebuild, run_stage
from editing.settings import DEFAULTS, KINDS, LORA, SHIPPED, chosen, found_in, named
from manifests.errors import CheckpointError
from tests.lightloom.torchlines import run_and_look
from training.config import load_config

SETUP = """
torch.manual_seed(0)
from renderers import ForwardRenderer, InverseRenderer, LightingEstimator
from renderers.backbones import BACKBONES
from renderers.svd.lora import add_lora
from tests.training.analytic_benchmark import write_part
write_part(Path("benchmark/scenes"), scenes=1)
write_part(Path("set"), scenes=2, uids=("mesh/b",))
small = dict(widths=(16, 32), depths=(1, 1), embedding=16)
for kind, pipeline in (("inverse", InverseRenderer), ("forward", ForwardRenderer), ("other", InverseRenderer)):
    network = BACKBONES["tiny"].create(kind.replace("other", "inverse"), **small)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    if kind == "forward":
        add_lora(network, 2, generator=torch.Generator().manual_seed(0), targets=network.lora_targets)
    where = str(Path("set").absolute())
    config = {"name": "toy", "seed": 41, "start": where, "optimise": {"batch": 8}, "data": {"frames": 2}}
    clips = {"main": 4, "real": 4} if kind == "forward" else {"main": 4}
    record = {"config": config, "step": 12, "seconds": 66.0, "clips": clips}
    pipeline(network, training=record, licence="Apache-2.0").save_pretrained(Path(kind) / "renderer")
    real = [where] if kind == "forward" else []
    (Path(kind) / "run.json").write_text(json.dumps({"datasets": [where], "real": real}))
wild = Path("wild/renderer")
network = BACKBONES["tiny"].create("inverse", **small)
with torch.no_grad():
    max(network.parameters(), key=torch.numel)[:] = 1e6
InverseRenderer(network).save_pretrained(wild)
"""
AFTER = """
from editing import settings
settings.DEFAULTS.update(settings.found_in(Path("packed")))
loaded = settings.FilmRenderers()
inverse, forward, plain = loaded.inverse, loaded.forward, loaded.without_lora().forward
assert loaded.without_lora().inverse is inverse and loaded.forward is forward
kinds = [str(parameter.dtype) for model in (inverse, forward) for parameter in model.unet.parameters()]
from renderers.svd.lora import has_lora
extra = [sorted(set(kinds)), has_lora(forward.unet), has_lora(plain.unet)]
"""
PACK = ("weights", "pack", "--evaluation", "evaluation", "--out")
LINES: dict[str, tuple[str, ...]] = {
    "evaluate": (
        *("evaluate", "run", "benchmark", "evaluation", "--inverse", "inverse/renderer"),
        *("--forward", "forward/renderer", "--training", "set"),
    ),
    "pack": (
        *(*PACK, "packed", "--inverse", "inverse/renderer", "--forward", "forward/renderer"),
        *("--lora", "forward/renderer"),
    ),
    "not measured": (*PACK, "no", "--inverse", "other/renderer"),
    "no lora": (*PACK, "no", "--lora", "inverse/renderer"),
    "nothing": (*PACK, "no"),
    "too wild": ("weights", "pack", "--evaluation", "wild.json", "--out", "no", "--inverse", "wild/renderer"),
    "no report": ("weights", "pack", "--evaluation", "nowhere", "--out", "no", "--inverse", "inverse/renderer"),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder in which all ran, results by name, and what the packed weights loaded as."""
    folder = tmp_path_factory.mktemp("weights")
    wild = {"settings": {"benchmark": "benchmark", "inverse": "wild/renderer"}, "bars": [], "tables": []}
    (folder / "wild.json").write_text(json.dumps(wild))
    results, loaded = run_and_look(folder, LINES, SETUP, AFTER)
    return folder, results, loaded


def test_packed_weights_are_halves_that_load_as_float32(done):
    folder, results, (dtypes, with_lora, without) = done
    code, out, err = results["pack"]
    assert code == 0, err
    assert out.count("MB") == 3
    assert dtypes == ["torch.float32"]
    assert with_lora
    assert not without
    for part in ("inverse", "forward"):
        before, after = (
            (folder / at / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size
            for at in (f"{part}/renderer", f"packed/{part}")
        )
        assert 0.45 < after / before < 0.6


def test_packed_folders_hold_weights_json_and_a_card_and_no_path_of_this_machine(done):
    folder, _, _ = done
    names = {str(path.relative_to(folder / "packed")) for path in (folder / "packed").rglob("*") if path.is_file()}
    network = (
        "README.md",
        "history.json",
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    )
    expected = {f"{kind}/{name}" for kind in ("inverse", "forward") for name in network}
    assert names == expected | {"lora/README.md", f"lora/{LORA}"}
    for path in (folder / "packed").rglob("*"):
        if path.suffix in (".json", ".md"):
            assert str(folder) not in path.read_text()


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("inverse", ("seed 41", "12 steps of 8 samples of 2 frames", "basecolor", "training mean")),
        ("forward", ("seed 41", "SplitSum with traced shadows", "relighting", "footage with automatic labels")),
        ("lora", ("footage with automatic labels", "LoRA of rank", "ours, with LoRA")),
    ],
)
def test_cards_state_data_recipe_measurements_limits_and_licence(done, part, expected):
    folder, _, _ = done
    text = (folder / "packed" / part / "README.md").read_text()
    for words in ("license: apache-2.0", "## Data", "4 clips of 3 frames of 32x32", "## Limits", "commit", "CC0-1.0"):
        assert words in text
    for words in expected:
        assert words in text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("not measured", "none of the evaluations measured it"),
        ("no lora", "no LoRA here"),
        ("nothing", "nothing to pack"),
        ("too wild", "half precision does not hold"),
        ("no report", "cannot be read"),
    ],
)
def test_what_cannot_be_packed_is_one_line_and_writes_nothing(done, line, expected):
    folder, results, _ = done
    code, _, err = results[line]
    assert code == 1
    assert expected in err
    assert len(err.strip().splitlines()) == 1
    assert not any((folder / "no").glob("[!.]*"))


def test_defaults_are_what_is_shipped_and_only_that():
    for part, path in DEFAULTS.items():
        assert path == SHIPPED / ("tiny" if part == "lighting" else "photo") / part
        assert (Path(path) / "README.md").is_file()
    assert named("tiny") == {kind: str(SHIPPED / "tiny" / kind) for kind in KINDS}
    assert named("photo") == {kind: str(SHIPPED / "photo" / kind) for kind in ("inverse", "forward")}
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*.safetensors")) <= 60_000_000


def test_weights_are_named_by_folder_or_as_published(done):
    folder, _, _ = done
    there = named(str(folder / "packed"))
    assert there == {kind: str(folder / "packed" / kind) for kind in ("inverse", "forward")}
    assert named("svd")["inverse"].endswith("-inverse-svd")
    with pytest.raises(CheckpointError, match="no folder with inverse, forward, lighting"):
        named(str(folder / "set"))


def test_a_kind_without_weights_says_which_option_gives_them(monkeypatch):
    monkeypatch.setitem(DEFAULTS, "forward", None)
    with pytest.raises(CheckpointError) as caught:
        chosen("forward", None)
    assert "give --forward CHECKPOINT" in caught.value.told(lambda field: f"--{field}")
    assert chosen("forward", "mine") == "mine"


def test_rebuilding_is_a_chain_of_commands_that_ends_in_packing(tmp_path):
    rebuild = Rebuild(tmp_path, minutes=100, seed=3, clips=8, footage=3, preset="debug", scenes=1)
    names = [stage.name for stage in rebuild.stages()]
    assert names == [
        *("dataset", "objects", "unseen", "inverse", "lighting", "forward", "continued", "judge"),
        *("scenes", "label", "cotrained", "benchmark", "evaluate", "pack"),
    ]
    lines = {stage.name: list(stage.command()) for stage in rebuild.stages() if stage.name != "label"}
    assert lines["dataset"][lines["dataset"].index("--recipe") + 1] == "train-tiny"
    assert lines["inverse"][lines["inverse"].index("--minutes") + 1] == "30"
    assert lines["judge"][2] == str(tmp_path / "unseen"), "a judge learns from clips that its renderer has not seen"
    seeds = [line[line.index("--seed") + 1] for line in lines.values() if line[0] == "datagen"]
    assert len(set(seeds)) == len(seeds)
    assert sum(SHARES.values()) == pytest.approx(1.0)
    for kind in KINDS:
        assert f"--{kind}" in lines["pack"]
    with pytest.raises(CheckpointError, match="--minutes"):
        Rebuild(tmp_path, minutes=0, seed=0, clips=8, footage=3, preset="debug")


def test_what_sees_photographs_is_made_by_a_chain_too(tmp_path):
    lines = {stage.name: list(stage.command()) for stage in PhotoRebuild(tmp_path, 100, 3, 8, scenes=1).stages()}
    made = ["dataset", "inverse", "forward", "unseen", "judge", "benchmark", "evaluate", "pack", "selection"]
    assert list(lines) == made
    assert lines["pack"][lines["pack"].index("--inverse") + 1] == str(tmp_path / "judge" / "renderer")
    assert lines["inverse"][lines["inverse"].index("--minutes") + 1] == "50"
    preset = lines["forward"][lines["forward"].index("--preset") + 1]
    config = load_config(preset, "forward")
    assert config.estimates == str(tmp_path / "inverse" / "renderer") and config.backbone == "tiny"


def test_a_stage_is_a_command_of_lightloom_or_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["stage", "benchmarks.weights", "pack", "--evaluation", "nothing"])
    with pytest.raises(SystemExit) as ended:
        run_stage()
    assert ended.value.code == 1 and "nothing to pack" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_rebuild_makes_weights_and_does_nothing_the_second_time(tmp_path):
    preset = tmp_path / "quick.yaml"
    narrow = "{widths: [16, 32], depths: [1, 1], embedding: 16}"
    preset.write_text(f"base: debug\nname: quick\nnetwork: {narrow}\n")
    words = ["--minutes", "1", "--clips", "4", "--footage", "2", "--scenes", "1", "--preset", str(preset)]
    words += ["--continued", str(preset)]
    command = [sys.executable, "-m", "benchmarks.weights", "build", str(tmp_path / "out")]
    for again in (False, True):
        made = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr[-3000:]
        assert made.stdout.count("done before") == (14 if again else 0)
    found = found_in(tmp_path / "out" / "weights")
    assert all(path is not None for path in found.values())
