"""``gradvar identify TARGET``: which named estimator somebody's function is, and where it differs."""

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gradvar.files.target import absolute_target, load_target


@dataclass(frozen=True)
class Identify:
    """Find the named estimator and the settings that an advantage function or a loss is, and where it differs.

    Exit code 0: identified. 1: nothing that is known reproduces it; the nearest are listed. 2: bad usage.
    """

    target: Annotated[str, tyro.conf.Positional]
    """The function: module:function, or path/to/file.py:function. NumPy, JAX or PyTorch."""
    signature: str = "auto"
    """How the function is called, as for gradvar check. Default: found by inspection."""
    library: Literal["auto", "numpy", "torch", "jax", "list"] = "auto"
    """The arrays that it is given. Default: what its code uses."""
    arguments: str = "{}"
    """Further keyword arguments for the function, as JSON."""
    json: str | None = None
    """Write the finding to this file, - for standard output (then no sentence is printed)."""


def run(config: Identify) -> int:
    """Identify, print the sentence or the JSON, and return the exit code."""
    try:
        identification = examine(config)
        text = identification.to_json()
        if config.json == "-":
            print(text)
            return 0 if identification.ok else 1
        print(identification)
        if config.json is not None:
            Path(config.json).write_text(text + "\n", encoding="utf-8")
    except (ValueError, ImportError) as error:
        print(f"gradvar identify: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"gradvar identify: --json: {config.json}: {error.strerror}; give another path", file=sys.stderr
        )
        return 2
    return 0 if identification.ok else 1


def examine(config: Identify) -> Any:
    """The finding about the target. Raises ``ValueError`` on bad usage, with one clear line."""
    if importlib.util.find_spec("hypothesis") is None:
        raise ValueError("hypothesis is not installed; pip install 'gradvar[check]'")
    from gradvar.testing.identification.function import identify

    try:
        arguments = json.loads(config.arguments)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"--arguments: {config.arguments!r} is not JSON ({error.msg}); give an object"
        ) from error
    if not isinstance(arguments, dict):
        raise ValueError(f"--arguments: {config.arguments!r} is not an object; give names and values")
    settings: dict[str, Any] = {
        "signature": None if config.signature == "auto" else config.signature,
        "library_name": None if config.library == "auto" else config.library,
        "arguments": arguments,
        "origin": absolute_target(config.target),
    }
    return identify(load_target(config.target), **{k: v for k, v in settings.items() if v is not None})
