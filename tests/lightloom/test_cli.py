"""The command line: exit codes, help that teaches, errors of one line, completion."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightloom.cli import _SEVERAL, app, run
from tests.lightloom.doclines import subcommands


def help_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        run([*arguments, "--help"])
    assert stop.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", subcommands(), ids=" ".join)
def test_help_of_every_command_has_an_example_that_calls_it(arguments, capsys):
    text = help_of(arguments, capsys)
    assert f"Example: lightloom {' '.join(arguments)}" in text


@pytest.mark.parametrize("arguments", subcommands(), ids=" ".join)
def test_options_that_take_several_values_may_be_given_several_times(arguments, capsys):
    several = set(re.findall(r"(--[a-z-]+) \[[A-Z{][^ ]* \[", help_of(arguments, capsys)))
    assert several <= set(_SEVERAL) and (several == {"--env"} or arguments != ["relight"])


@pytest.mark.parametrize("second", (["--set", "metallic=0.5"], ["--set=metallic=0.5"]))
def test_an_option_given_twice_keeps_both_values(second, capsys):
    picks = ["--pick", "1,2"], ["--pick", "3,4"]
    assert run(["edit", "film.mp4", "--set", "roughness=7", *picks[0], *second, *picks[1], "--out", "made.mp4"]) == 1
    assert "roughness is 7" in capsys.readouterr().err


def test_no_arguments_show_the_commands(capsys):
    text = help_of([], capsys)
    for name in app._subcommands:
        assert name in text


def test_unknown_option_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stop:
        run(["data", "verify", "somewhere", "--colour", "blue"])
    assert stop.value.code == 2
    assert "--colour" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["data", "verify", "{nowhere}"], "no such folder"),
        (["data", "stats", "{nowhere}"], "no dataset.json"),
        (["datagen", "status", "{nowhere}"], "no dataset.json"),
        (["datagen", "run", "{nowhere}"], "no dataset.json"),
        (["datagen", "run", "{nowhere}", "--clips", "3"], "both --recipe and --clips"),
        (["datagen", "run", "{nowhere}", "--recipe", "tny", "--clips", "3"], "did you mean tiny?"),
        (["datagen", "run", "{nowhere}", "--recipe", "tiny", "--clips", "0"], "clips is 0"),
        (["assets", "list", "{nowhere}"], "not a catalogue"),
        (["assets", "build", "{folder}"], "is a folder"),
        (["data", "report", "{nowhere}", "--out", "{folder}"], "is a folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_errors_are_one_line_on_stderr_and_exit_code_1(arguments, expected, tmp_path, capsys):
    nowhere = str(tmp_path / "nowhere")
    assert run([argument.format(nowhere=nowhere, folder=tmp_path) for argument in arguments]) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("lightloom: ")
    assert expected in message
    assert not (tmp_path / "nowhere").exists()


def test_debug_adds_the_traceback(tmp_path, capsys):
    assert run(["data", "stats", str(tmp_path), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_builtin_catalogue_is_listed_without_any_file(capsys):
    assert run(["assets", "list", "--kind", "environment"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(" environment " in line for line in lines)
    assert sum("CC0-1.0" in line for line in lines) == 8


def test_command_line_loads_neither_blender_nor_torch_nor_ray():
    code = "import sys, lightloom.cli; print([m for m in ('bpy', 'torch', 'ray', 'duckdb') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"\[\]\s*", loaded)


TAB = r"""
source "$1"
complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lightloom; echo "${COMPREPLY[*]}"; }
complete_line lightloom da
complete_line lightloom datagen run out/set --rec
complete_line lightloom datagen run out/set --codec ""
complete_line lightloom data verify ""
"""


def written(shell: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(["completion", shell]) == 0
    path = folder / "_lightloom"
    path.write_text(capsys.readouterr().out)
    return path


def test_bash_completes_commands_options_and_values_and_leaves_files_to_the_shell(tmp_path, capsys):
    script = written("bash", tmp_path, capsys)
    done = subprocess.run(["bash", "-c", TAB, "bash", script], capture_output=True, text=True, check=True)
    commands, options, values, files = done.stdout.split("\n")[:4]
    assert commands.split() == ["data", "datagen"]
    assert options.split() == ["--recipe", "--recycle-after-items", "--recycle-rss-mb"]
    assert values.split() == ["compact", "exact"]
    assert files == ""


def test_fish_completes_commands_values_and_files(tmp_path, capsys):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    script = written("fish", tmp_path, capsys)
    asked = ("lightloom da", "lightloom datagen run x --codec ", "lightloom data verify _light")
    lines = [f"source {script.name}", *(f"complete -C '{line}'" for line in asked)]
    done = subprocess.run(["fish", "-c", "; ".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [line.split("\t")[0] for line in done.stdout.splitlines() if line] == (
        ["data", "datagen", "compact", "exact", "_lightloom"]
    )


def test_the_zsh_script_is_valid_and_offers_files_where_nothing_else_fits(tmp_path, capsys):
    script = written("zsh", tmp_path, capsys)
    assert script.read_text().startswith("#compdef lightloom\n")
    assert script.read_text().endswith('_tyro_lightloom "$@" || _files\n')
    if shutil.which("zsh"):
        subprocess.run(["zsh", "-n", script], check=True)


def test_an_unknown_shell_is_a_usage_error():
    with pytest.raises(SystemExit) as stop:
        run(["completion", "tcsh"])
    assert stop.value.code == 2


def test_an_error_of_no_one_we_know_is_one_line(capsys):
    class Broken:
        @staticmethod
        def cli(**_):
            raise ZeroDivisionError("division\x1b[31m by zero\nand more")

    assert run(["data", "stats", "x"], Broken) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "\x1b" not in said
    assert said.startswith("lightloom: ZeroDivisionError: division\\x1b[31m by zero\\nand more (test_cli.py:")
    with pytest.raises(ZeroDivisionError):
        run(["data", "stats", "x", "--debug"], Broken)


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(tmp_path):
    command = [sys.executable, "-c", "from lightloom.cli import main; main()", "datagen", "run", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        error = running.stderr.read()
        assert running.wait() == 141 and error == b""


def test_a_terminal_that_knows_ascii_alone_gets_escapes(tmp_path):
    command = [
        sys.executable,
        "-c",
        "from lightloom.cli import main; main()",
        "data",
        "stats",
        str(tmp_path / "日本\x1b"),
    ]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 1 and b"\\u65e5\\u672c\\x1b" in done.stderr and done.stderr.count(b"\n") == 1
