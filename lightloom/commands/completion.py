"""`lightloom completion`: what makes a shell complete commands, options, their values and file names."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional
from tyro.extras import SubcommandApp

Shell = Literal["bash", "zsh", "fish"]

# tyro's scripts know commands and options, but offer no files where an argument without a name stands.
_FILES: dict[Shell, str] = {
    "bash": """
_lightloom() {
  _tyro_lightloom
  [[ "${COMP_WORDS[COMP_CWORD]}" == -* ]] && return
  local word words=()
  for word in "${COMPREPLY[@]}"; do [[ "$word" == [!-]* ]] && words+=("$word"); done
  COMPREPLY=("${words[@]}")
  (( ${#words[@]} )) || compopt -o default 2>/dev/null
}
complete -F _lightloom lightloom
""",
    "zsh": " || _files\n",
    "fish": """
function _lightloom_wants_file
  not string match --quiet -- "-*" (commandline -ct)
  and not string match --quiet --invert -- "-*" (_tyro_lightloom)
end
complete --command lightloom --condition _lightloom_wants_file --force-files
""",
}


def command_of(app: SubcommandApp) -> Callable[[Shell], int]:
    """The command `completion` for the commands of `app`."""

    def completion(shell: Positional[Annotated[Shell, tyro.conf.arg(metavar="SHELL")]], /) -> int:
        """Print a shell's completion script: the Tab key then knows commands, options, their values and files.

        Example: lightloom completion bash > ~/.local/share/bash-completion/completions/lightloom

        For zsh the file is _lightloom in a folder of $fpath, for fish ~/.config/fish/completions/lightloom.fish.

        Args:
            shell: bash, zsh or fish.
        """
        print(script(app, shell), end="")
        return 0

    return completion


def script(app: SubcommandApp, shell: Shell) -> str:
    """The completion script of a shell: tyro's, and files where it has nothing to offer."""
    written = io.StringIO()
    try:
        with redirect_stdout(written):
            app.cli(prog="lightloom", args=["--tyro-print-completion", shell])
    except SystemExit as stop:  # tyro ends the process once it has printed
        if stop.code:
            raise
    return written.getvalue().rstrip() + _FILES[shell]
