"""Results of a command: programs that are kept compiled between runs, and files whose errors are one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol


class Results(Protocol):
    """What a command has computed: files of its own in a folder, and everything as plain values."""

    def save(self, folder: Path) -> list[Path]:
        """Write the files to ``folder`` and return them."""
        ...

    def as_json(self) -> dict[str, Any]:
        """Return plain values, with where they come from."""
        ...


def keep_compiled_programs() -> None:
    """Let JAX keep what it compiles in the cache folder, for the next run."""
    import jax

    from gradvar.files.cache import cache_folder

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
