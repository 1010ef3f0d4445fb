"""Results of a command: programs that are kept compiled between runs, and files whose errors are one line."""

from __future__ import annotations

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


def save(results: Results, folder: Path, json: Path | None) -> list[Path]:
    """Write the results to ``folder``, and also to the file ``json`` where one is given; return the files.

    Raises ``ValueError`` of one line where the disk has filled up meanwhile.
    """
    from gradvar.files.atomic import writing
    from gradvar.files.tables import write_json

    with writing(folder, "out"):
        files = results.save(folder)
        if json is not None:
            write_json(json, results.as_json())
            files.append(json)
    return files
