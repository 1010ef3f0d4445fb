"""Lists on the command line: values with spaces or commas between them, and what is said where one cannot be read."""

import re
import typing
from collections.abc import Callable, Sequence

NAMES = (
    "arms", "claims", "corrections", "dtypes", "estimators", "laws", "names", "only", "policies", "samplers",
    "trainers", "until",
)  # fmt: skip
"""Options that take several words. Others take texts that may hold a comma: columns, shapes, paths."""
POSITIONAL = ("names", "trainers")
_Reading = tuple[Callable[[str], object], str]
_NUMBERS: dict[object, _Reading] = {
    tuple[int, ...]: (int, "whole number"),
    tuple[float, ...]: (float, "number"),
    tuple[float, float]: (float, "number"),
}
_NUMBER: dict[object, _Reading] = {
    int: (int, "whole number"),
    int | None: (int, "whole number"),
    float: (float, "number"),
    float | None: (float, "number"),
}
_BETWEEN_NUMBERS = r"[,;\s()\[\]]+"
_BETWEEN_SETTINGS = r",(?=[A-Za-z_]\w*=)"  # ddof=0,eps=1e-6; a value may be a list itself


def separated(arguments: Sequence[str], settings: type) -> list[str]:
    """Split lists that are written in one word: ``--group-sizes 2,16`` or ``--group-sizes=2,16`` is ``2 16``.

    Args:
        arguments: As the shell gives them.
        settings: The command's settings, whose types say which options are lists.
    """
    hints = typing.get_type_hints(settings)
    between = r"," if any(name in hints for name in POSITIONAL) else ""
    words: list[str] = []
    for argument in arguments:
        if argument.startswith("--"):
            option, equals, value = argument.partition("=")
            between = _between(option, hints)
            words += [option, *_parts(value, between)] if between and equals else [argument]
        else:
            words += _parts(argument, between) if between else [argument]
    return words


def _between(option: str, hints: dict[str, object]) -> str:
    """What stands between the values of a list, as a pattern; nothing where the option is no list."""
    name = option.removeprefix("--").replace("-", "_")
    if hints.get(name) in _NUMBERS:
        return _BETWEEN_NUMBERS
    if name == "setting":
        return _BETWEEN_SETTINGS
    return "," if name in NAMES and name in hints else ""


def _parts(text: str, between: str) -> list[str]:
    return [part for part in re.split(between, text) if part]


def unreadable(arguments: Sequence[str], settings: type) -> str:
    """Say which value of an option of numbers is none; nothing where all are.

    Args:
        arguments: What ``separated`` returned.
        settings: The command's settings.
    """
    hints = typing.get_type_hints(settings)
    option, kind, more = "", None, ""
    for argument in arguments:
        value = argument
        if argument.startswith("--"):
            option, _, value = argument.partition("=")
            hint = hints.get(option[2:].replace("-", "_"))
            kind = _NUMBERS.get(hint) or _NUMBER.get(hint)
            more = "; give numbers with spaces or commas between them" if hint in _NUMBERS else ""
        if kind is None or not value:
            continue
        read, words = kind
        try:
            read(value)
        except ValueError:
            return f"{option}: '{value}' is no {words}{more}"
    return ""
