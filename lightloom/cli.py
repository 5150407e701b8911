"""`lightloom`: the command line. Each group of commands lives in its own module and imports its rooms on use.

Exit codes: 0 done, 1 work failed (one line says what, where and what to do next; `--debug` adds the traceback),
2 the command line itself is wrong.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from tyro.extras import SubcommandApp

from lightloom.commands import (
    assets,
    checkpoint,
    completion,
    data,
    datagen,
    demo,
    doctor,
    evaluate,
    film_commands,
    label,
    studio,
    train,
    view,
)
from lightloom.saying import unexpected
from manifests.errors import LightloomError
from manifests.untrusted import printable

app = SubcommandApp()
app.command(name="demo")(demo.demo)
app.command(name="insert")(film_commands.insert)
app.command(name="studio")(studio.studio)
app.command(name="view")(view.view)
app.command(name="doctor")(doctor.doctor)
app.command(name="completion")(completion.command_of(app))
app.command(name="relight")(film_commands.relight)
app.command(name="edit")(film_commands.edit)
app.command(assets.app, name="assets", help="Build, score and list catalogues of meshes, materials and environments.")
app.command(datagen.app, name="datagen", help="Plan, make and watch synthetic datasets.")
app.command(label.app, name="label", help="Plan, make and watch datasets of real footage with automatic labels.")
app.command(train.app, name="train", help="Train inverse, lighting and forward renderers.")
app.command(evaluate.app, name="evaluate", help="Build benchmarks of unseen scenes and measure renderers on them.")
app.command(checkpoint.app, name="checkpoint", help="Inspect checkpoints of renderers, convert published ones.")
app.command(data.app, name="data", help="Verify, repair, merge and describe datasets.")

DESCRIPTION = """Weave training data for neural rendering.

Example: lightloom datagen run out/set --recipe tiny --clips 64
Add --debug to any command to see the traceback of an error."""

_CLOSED_PIPE = 141  # what a shell says of a program that SIGPIPE has ended

_OPTIONS = {
    "light": "--env",
    "change": "--set",
    "instance": '--select "instance=2"',
    "mask": "--mask FILE",
    "pick": "--pick X,Y",
    "exclude": "--not X,Y",
}
"""Arguments that options call otherwise, or whose form is worth saying."""

_SEVERAL = ("--env", "--set", "--folder", "--images", "--real", "--more", "--checks")
"""Options that take several values at once."""


def run(arguments: Sequence[str], commands: SubcommandApp = app, prog: str = "lightloom") -> int:
    """Run one command line of `commands`; returns the exit code.

    tyro itself exits with 2 on a usage error and 0 on --help. An error that is not ours is one line, too.
    """
    arguments = _gathered(arguments)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    try:
        described = DESCRIPTION if commands is app else None
        code = commands.cli(prog=prog, description=described, args=arguments or ["--help"])
    except LightloomError as error:
        if debug:
            traceback.print_exc()
        return _failed(error.told(_option))
    except KeyboardInterrupt:
        return _failed("interrupted; the same command goes on from here")
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED_PIPE
    except Exception as error:
        if debug:
            raise
        return _failed(f"{unexpected(error)} with the output of the same command and --debug")
    return code if isinstance(code, int) else 0


def _gathered(arguments: Sequence[str]) -> list[str]:
    """`--env A --env B` as `--env A B`: tyro would keep B alone, without a word."""
    uses = Counter(word.partition("=")[0] for word in arguments)
    several: dict[str, list[str]] = {name: [] for name in _SEVERAL if uses[name] > 1}
    kept: list[str] = []
    current = kept
    for word in arguments:
        name, equals, value = word.partition("=")
        current = several.get(name, kept if word.startswith("--") else current)
        current += ([value] if equals else []) if name in several else [word]
    return [*kept, *(word for name, values in several.items() for word in (name, *values))]


def _failed(line: str) -> int:
    """Print what went wrong, in one line whatever it holds."""
    print(f"lightloom: {printable(line)}", file=sys.stderr)
    return 1


def _option(field: str) -> str:
    """How the command line calls an argument that a message names."""
    return _OPTIONS.get(field, f"--{field.replace('_', '-')}")


def main() -> None:
    """Entry point of the `lightloom` script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows ASCII alone gets escapes
    gc.set_threshold(50_000, 20, 100)  # torch and diffusers are a million objects, none of which is garbage
    code = run(sys.argv[1:])
    if {"bpy", "torch"} & sys.modules.keys():
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> None:
    """End without taking apart what was loaded: Blender's own exit can crash, and that of torch takes two seconds."""
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    if "bpy" not in sys.modules:
        atexit._run_exitfuncs()  # those of tempfile, logging, Ray
    os._exit(code)
