"""``gradvar identify TARGET``: which named estimator somebody's function is, and where it differs."""

import importlib.util
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from gradvar.cli.results import check_shown, keyword_arguments, show
from gradvar.core.extras import missing
from gradvar.files.harmless import LONGEST, one_line
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
        check_shown(config.json, config.target)
        identification = examine(config)
        show(str(identification), identification.to_json(), config.json)
    except (ValueError, ImportError) as error:
        print(f"gradvar identify: {one_line(' '.join(str(error).split()), LONGEST)}", file=sys.stderr)
        return 2
    return 0 if identification.ok else 1


def examine(config: Identify) -> Any:
    """The finding about the target. Raises ``ValueError`` on bad usage, with one clear line."""
    if importlib.util.find_spec("hypothesis") is None:
        raise ValueError(missing("hypothesis"))
    from gradvar.testing.identification.function import identify

    settings: dict[str, Any] = {
        "signature": None if config.signature == "auto" else config.signature,
        "library_name": None if config.library == "auto" else config.library,
        "arguments": keyword_arguments(config.arguments),
        "origin": absolute_target(config.target),
    }
    return identify(load_target(config.target), **{k: v for k, v in settings.items() if v is not None})
