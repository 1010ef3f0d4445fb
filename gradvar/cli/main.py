"""The command line: chooses the command, reads its arguments, and turns errors into one line.

Only the module of the given command is imported. Exit codes: 0 all holds, 1 a law or claim fails, 2 bad usage or input.
"""

import contextlib
import dataclasses
import importlib
import inspect
import io
import os
import re
import signal
import sys
import threading
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from gradvar import __version__
from gradvar.cli.lists import separated, unreadable
from gradvar.cli.settings_file import with_settings_file
from gradvar.cli.streams import Screen, harmless_streams
from gradvar.core.extras import is_optional, missing
from gradvar.core.naming import nearest
from gradvar.files.harmless import LONGEST, one_line
from gradvar.stats.sheet import wrapped

COMMANDS = {
    "demo": "two rollouts against sixteen, exactly, in seconds",
    "measure": "what estimators estimate and how noisy they are",
    "mismatch": "what corrections for the sampling engine cost",
    "check": "which laws an advantage function or a loss obeys",
    "identify": "which named estimator a function is, and where it differs",
    "peers": "what the estimators of installed trainers are",
    "prove": "proofs of what is claimed about estimators, or about your objective",
    "advise": "which group size buys the most signal at your costs",
    "record": "a score bank of a local model on your prompts",
    "audit": "what the rewards in rollout dumps show",
    "train": "variants (arms) trained alike, and what a small group retains of a large one",
    "report": "one HTML file of the results in a folder",
    "list": "the estimators of the catalogue",
    "cite": "BibTeX of estimators, of claims' sources, and of gradvar",
}
"""Each command with one line about it, in the order of the help."""
_METAVARS = {str: "STR", int: "INT", float: "FLOAT", Path: "PATH"}


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``gradvar`` and exit; an interrupt is one line and 130 wherever it arrives."""
    try:
        code = run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:  # before ``run`` listens for one, or after
        print("gradvar: interrupted", file=sys.stderr)
        code = 130
    if code == 130:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing more is to be said while the process ends
    sys.exit(code)


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Raise ``KeyboardInterrupt`` at the first interrupt, and note it; later ones do nothing."""
    interrupts: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        interrupts.append(number)
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    is_ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # as of a job in the background
    if not is_main or is_ignored:
        yield interrupts
        return
    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, previous)


def run(argv: Sequence[str]) -> int:
    """Run ``gradvar`` with these arguments and return the exit code.

    Raises ``SystemExit`` where a command's help is asked for, or its arguments cannot be read.
    """
    with _interrupts() as interrupts:
        try:
            code = _run(argv)
        except BaseException as error:
            # A library may make an error of its own of an interrupt, and a function of the user's may swallow it.
            if not interrupts and not isinstance(error, KeyboardInterrupt):
                raise
            interrupts.append(0)
        if not interrupts:
            return code
        print("gradvar: interrupted", file=sys.stderr)
        return 130


def _run(argv: Sequence[str]) -> int:
    name, *arguments = argv or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"gradvar {__version__}")
        return 0
    if name not in COMMANDS:
        near = nearest(name, COMMANDS, most=1, likeness=0.6)
        hint = f"did you mean {near[0]}?" if near else f"give {', '.join(COMMANDS)}"
        _say(f"no command '{one_line(name, 40)}'; {hint}; see gradvar --help")
        return 2
    try:
        module, settings = command(name), _parse(name, with_settings_file(name, arguments))
        with harmless_streams():
            code: int = module.run(settings)
        sys.stdout.flush()  # here, where the error of a closed pipe is caught
        return code
    except ValueError as error:
        _say(str(error))
        return 2
    except ModuleNotFoundError as error:
        if not is_optional(error):
            raise
        _say(missing(error.name or "", name))
        return 2
    except MemoryError:
        _say("the memory is full; give less at once")
        return 2
    except BrokenPipeError:  # the reader has stopped, as `head` does; nothing more is to be flushed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a disk that is full, a name that is too long, a file that may not be read
        place = one_line(str(error.filename or ""), 160)
        reason = error.strerror or type(error).__name__
        _say(f"{place}{': ' * bool(place)}{reason}; give another path")
        return 2


def _say(error: str) -> None:
    """Print an error in one line, which holds nothing that a terminal obeys; what others wrote in it may be long."""
    print(f"gradvar: error: {one_line(error, LONGEST)}", file=sys.stderr)


def command(name: str) -> ModuleType:
    """Import the module of a command; its ``run`` takes the command's configuration."""
    return importlib.import_module(f"gradvar.cli.{'listing' if name == 'list' else name}")


def configuration(name: str) -> type:
    """Return the class of a command's settings: the type of the argument of its ``run``."""
    settings: type = typing.get_type_hints(command(name).run)["config"]
    return settings


def _help() -> str:
    width, lines = max(map(len, COMMANDS)), Screen().width
    return "\n".join(
        [
            "usage: gradvar COMMAND [arguments]",
            "",
            "The toolkit for the theory of group-relative policy gradients.",
            "",
            *(
                wrapped(f"  {name:<{width}}  {summary}", lines, " " * (width + 2))
                for name, summary in COMMANDS.items()
            ),
            "",
            wrapped(
                "gradvar COMMAND --help shows a command's arguments; gradvar --version, the version.",
                lines,
                "",
            ),
            wrapped(
                "gradvar COMMAND --config FILE reads arguments from a TOML file or a result's JSON.",
                lines,
                "",
            ),
        ]
    )


def _explained(settings: type) -> type:
    """Give every option its docstring as one paragraph: the parser would break it where the source does.

    A default is shown where it is a value that the text does not explain; a type, without None.
    """
    import docstring_parser
    from tyro.conf import arg

    hints = typing.get_type_hints(settings, include_extras=True)
    plain_hints = typing.get_type_hints(settings)
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    for option in docstring_parser.parse_from_object(settings).params:
        name, text = option.arg_name, " ".join((option.description or "").split())
        if text and name in settings.__annotations__:
            is_plain = "Default: " in text or defaults[name] in (None, "", (), False)
            kinds = [kind for kind in _METAVARS if plain_hints[name] == kind | None]
            explained: Any = arg(
                help=text,
                help_behavior_hint="" if is_plain else None,
                metavar=_METAVARS[kinds[0]] if kinds else None,
            )
            settings.__annotations__[name] = typing.Annotated[hints[name], explained]
    return settings


def _description(settings: type) -> str:
    """What a help begins with, broken between words; the parser joins lines again that are not indented."""
    paragraphs = inspect.cleandoc(settings.__doc__ or "").split("\n\n")
    return "\n\n".join(wrapped(" ".join(text.split()), Screen().width) for text in paragraphs)


def _parse(name: str, arguments: Sequence[str]) -> Any:
    import tyro

    settings = configuration(name)
    words = separated(arguments, settings)
    description = None
    if {"-h", "--help"} & set(arguments):
        settings, description = _explained(settings), _description(settings)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(settings, prog=f"gradvar {name}", description=description, args=words)
    except SystemExit as stop:
        if stop.code:
            value, complaint = unreadable(words, settings), _complaint(printed.getvalue())
            hint = complaint.rpartition("; see")[2]
            _say(f"{value}; see{hint}" if value else _with_nearest_option(complaint, settings))
        raise


def _with_nearest_option(line: str, settings: type) -> str:
    """Add the option that an unknown one may stand for to the parser's complaint, and leave out its values."""
    unknown = re.match(r"Unrecognized options: --([\w-]+)", line)
    if unknown:
        line = re.sub(r", (?!-)[^,;]*", "", line)
    if choice := re.match(
        r"invalid choice '(.*)' for argument '(--[\w-]+)'\. Expected one of \((.*)\)(;.*)", line
    ):
        value, option, choices, rest = choice.groups()
        names = re.findall(r"'([^']*)'", choices)
        near = [f"; did you mean {name}?" for name in nearest(value, names, most=1, likeness=0.6)]
        return f"{option}: '{value}' is none of {', '.join(names)}{''.join(near)}{rest}"
    options = [field.name.replace("_", "-") for field in dataclasses.fields(settings)]
    near = nearest(unknown[1].replace("_", "-"), options, most=1, likeness=0.6) if unknown else []
    return line.replace("; see", f"; did you mean --{near[0]}?; see", 1) if near else line


def _complaint(box: str) -> str:
    """Return the parser's complaint out of its box: title, rule, text, rule, where help is."""
    stripped = [line.strip(" │╭╮╰╯") for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    lines = [line for line in stripped if line]
    rules = [i for i, line in enumerate(lines) if set(line) <= set("─-")]
    begin = rules[0] + 1 if rules and rules[0] <= 1 else 1  # the title may stand in the frame itself
    end = next((i for i in rules if i >= begin), len(lines))
    hint = re.search(r"gradvar[ a-z]* --help", " ".join(lines))
    return f"{' '.join(lines[begin:end]).rstrip('.')}; see {hint.group() if hint else 'gradvar --help'}"
