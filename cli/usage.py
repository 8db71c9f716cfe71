"""What is said of a command line that is wrong: one line, and where to read on."""

import re
from collections.abc import Sequence
from typing import Any, Final

import typer

# typer has it from the copy of click that it carries, and gives it no name of its own.
UsageError: Final[Any] = typer.BadParameter.__bases__[0]

# Replacements in typer's sentences.
REWORDED: Final = (
    (r"^Invalid value: ", ""),
    (r" \(env var: '[A-Z_]+'\)(?=: )", ""),  # the option was given, or could be
    (r"is not a valid (int(eger)?|int range)\.?$", "is not a whole number"),
    (r"is not a valid float( range)?\.?$", "is not a number"),
    (r"\. Did you mean '?([^'?]+)'?\?$", r" (did you mean \1?)"),
    (r"\. Did you mean ('.+, '.+')\?$", r" (did you mean one of \1?)"),
    (r"argument\(s\)", "argument"),
)
# Superfluous arguments of a command that takes topics by an option.
_EXTRA: Final = re.compile(r"unexpected extra argument \(([^\s)]+)")
_TOPICS: Final = "--topic"
_DATA: Final = "--data"
_NO_COMMAND: Final = re.compile(r"No such command '([^']+)'")
_ROOT: Final = "logstore"
BEGINNINGS: Final = ("Missing", "Invalid", "No such", "Got", "Option")


def tell_usage(error: Any) -> int:  # noqa: ANN401  typer's own
    """Report a wrong command line; returns the exit code."""
    from .ends import say

    if type(error).__name__ == "NoArgsIsHelpError":  # a command of commands, and none is named
        error.show()
    else:
        path = _ROOT if error.ctx is None else error.ctx.command_path
        say(f"logstore: {sentence(error)}: see `{path} --help`")
    return int(error.exit_code)


def sentence(error: Any) -> str:  # noqa: ANN401
    """The error as a sentence, in typer's words if they are good."""
    known = _known_elsewhere(error)
    if known is not None:
        return known
    possible = getattr(error, "possibilities", None)
    if possible:
        near = " or ".join(_near(error.option_name, possible))
        return f"no such option: {error.option_name}" + (f" (did you mean {near}?)" if near else "")
    text = " ".join(str(error.format_message()).split())
    for pattern, better in REWORDED:
        text = re.sub(pattern, better, text)
    if text.startswith(BEGINNINGS):
        text = text[0].lower() + text[1:]
    return text.removesuffix(".") + _by_option(error, text)


def _known_elsewhere(error: Any) -> str | None:  # noqa: ANN401
    """The replacement for an option or a command of another tool."""
    from .elsewhere import instead_of_command, instead_of_option

    if error.ctx is None:
        return None
    path = error.ctx.command_path.removeprefix(_ROOT).strip()
    if hasattr(error, "possibilities"):
        option = error.option_name
        more, what = instead_of_option(option, error.ctx.command, path), f"option: {option}"
    elif found := _NO_COMMAND.match(str(error.format_message())):
        more, what = instead_of_command(found[1], path), f"command {found[1]!r}"
    else:
        return None
    return f"no such {what}{more}" if more else None


def _by_option(error: Any, text: str) -> str:  # noqa: ANN401
    """A hint that a topic or a directory given as an argument is given by an option."""
    extra = _EXTRA.search(text)
    if extra is None:
        return ""
    option = _DATA if error.ctx.command_path == f"{_ROOT} restore" else _TOPICS
    if not any(option in it.opts for it in error.ctx.command.params):
        return ""
    return f" (did you mean {option} {extra[1]}?)"


def _near(option: str, possible: Sequence[str]) -> list[str]:
    """Similar options, compared without the dashes, which all share; the most similar first."""
    from difflib import get_close_matches

    names = {it.lstrip("-"): it for it in possible}
    return [names[it] for it in get_close_matches(option.lstrip("-"), list(names))]
