"""Results of a command: programs that are kept compiled between runs, and files whose errors are one line."""

import json as json_text
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from gradvar.cli.streams import Screen


class Results(Protocol):
    """What a command has computed: files of its own in a folder, and everything as plain values."""

    def save(self, folder: Path) -> list[Path]:
        """Write the files to ``folder`` and return them."""
        ...

    def as_json(self) -> dict[str, Any]:
        """Return plain values, with where they come from."""
        ...


def keep_compiled_programs() -> None:
    """Let JAX keep what it compiles in the cache folder, for the next run; a folder that the user chose stays."""
    import jax

    from gradvar.files.cache import cache_folder

    if getattr(jax.config, "jax_compilation_cache_dir", None):
        return
    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def save(
    results: Results,
    folder: Path,
    json: Path | None,
    draw: Callable[[Any, Path], list[Path]] = lambda results, folder: [],
) -> list[Path]:
    """Write the results to a folder.

    Args:
        results: The results of a command.
        folder: Where their files go.
        json: A further file for the JSON, or None.
        draw: Saves figures of the results in the folder, and returns their files.

    Returns:
        The files written.

    Raises:
        ValueError: In one line, if the disk has filled up meanwhile.
    """
    from gradvar.files.atomic import writing
    from gradvar.files.tables import write_json

    with writing(folder, "out"):
        files = [*results.save(folder), *draw(results, folder)]
        if json is not None:
            write_json(json, results.as_json())
            files.append(json)
    return files


def check_shown(path: str | None, target: str) -> None:
    """Raise ``ValueError``, in one line, where ``show`` could not write the JSON to ``path``, or over the target."""
    if path in (None, "-"):
        return
    from gradvar.files.paths import check_apart, check_file

    file = Path(str(path))
    check_file(file, "--json")
    check_apart({"--json": file}, [Path(target.rpartition(":")[0])])
    if not file.parent.is_dir():
        raise ValueError(f"--json: {path}: {file.parent} is no folder; give another path")


def show(table: str, json: str, path: str | None) -> None:
    """Print a finding, and write its JSON where that is asked for.

    Args:
        table: The finding, for people.
        json: The same as JSON.
        path: The file for the JSON; - for standard output, then the table is not printed; None for none.

    Raises:
        ValueError: In one line, if the file cannot be written.
    """
    from gradvar.files.atomic import write_file

    if path == "-":
        print(json)
    else:
        Screen().say(table, "    ")
    if path in (None, "-"):
        return
    try:
        write_file(Path(str(path)), f"{json}\n".encode())
    except OSError as error:
        raise ValueError(f"--json: {path}: {error.strerror}; give another path") from error


def keyword_arguments(text: str) -> dict[str, Any]:
    """The values of --arguments. Raises ``ValueError`` where the text is no JSON object."""
    try:
        values = json_text.loads(text)
    except json_text.JSONDecodeError as error:
        raise ValueError(f"--arguments: {text!r} is not JSON ({error.msg}); give an object") from error
    if not isinstance(values, dict):
        raise ValueError(f"--arguments: {text!r} is not an object; give names and values")
    return values
