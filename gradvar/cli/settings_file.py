"""``--config FILE``: a command's arguments from a TOML file, or from the provenance of a result that it wrote."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradvar.files.reading import read_text


def with_settings_file(name: str, arguments: Sequence[str]) -> list[str]:
    """Replace ``--config FILE`` by the arguments in the file; what the command line says itself goes before them.

    Args:
        name: The command: of a file with tables, its own is read, ``[measure]``.
        arguments: The command line after the command.

    Raises:
        ValueError: In one line, where the file is not there, cannot be read, or holds no settings.
    """
    rest, files = [], []
    items = iter(arguments)
    for item in items:
        if item == "--config":
            files.append(next(items, ""))
        elif item.startswith("--config="):
            files.append(item.partition("=")[2])
        else:
            rest.append(item)
    if not files:
        return rest
    if len(files) > 1:
        raise ValueError(f"config: {', '.join(files)}; give one file")
    typed = {_option(item) for item in rest if item.startswith("--")}
    return [*rest, *(part for key, value in read(Path(files[0]), name).items() if _option(key) not in typed
                     for part in _as_arguments(key, value))]  # fmt: skip


def read(path: Path, name: str) -> Mapping[str, Any]:
    """Return the settings in a file; the table of the command where the file has one."""
    text = read_text(path, "config", "give a .toml file, or a result's .json")
    try:
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ValueError(f"config: {path} is not {kind} ({error}); give NAME = VALUE in each line") from error
    if path.suffix == ".json" and isinstance(content, dict):
        provenance = content.get("provenance")
        provenance = provenance if isinstance(provenance, dict) else {}
        content = provenance.get("config", content.get("config", content))
    if not isinstance(content, dict):
        raise ValueError(f"config: {path} holds no settings; give NAME = VALUE in each line")
    if isinstance(content.get(name), dict):
        return content[name]
    tables = [key for key, value in content.items() if isinstance(value, dict)]
    if tables:
        raise ValueError(f"config: {path} has [{'], ['.join(tables)}], and no [{name}]; add it")
    return content


def _option(text: str) -> str:
    bare = text.removeprefix("--").partition("=")[0].replace("_", "-")
    return bare.removeprefix("no-")


def _as_arguments(key: str, value: Any) -> list[str]:
    option = key.replace("_", "-")
    if value is None or (isinstance(value, list) and not value):
        return []
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    return [f"--{option}", *map(str, value if isinstance(value, list) else [value])]
