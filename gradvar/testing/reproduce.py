"""The line for the shell that shows a violation again: a print of the function's own calls, or ``gradvar check``.

Code for ``python -c`` is written without single quotes, so that the whole stands in one pair of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from gradvar.testing.arrays import candidates, library
from gradvar.testing.losses import LossTarget
from gradvar.testing.signatures import SignatureError, inspect_signature
from gradvar.testing.targets import AdvantageTarget


def reproduction(
    target: AdvantageTarget | LossTarget, calls: Sequence[str], limit: int = 2, twice: bool = False
) -> str:
    """Return a shell line that calls the function as the law did, without the kit.

    Args:
        target: The function under test.
        calls: The calls that the law made, as lines of Python.
        limit: The most calls to repeat.
        twice: Call the function two times with the same arrays, and print these too.
    """
    if not target.origin or not calls:
        return ""
    module, _, name = target.origin.rpartition(":")
    first, *rest = name.split(".")
    if module.endswith(".py"):
        folder = os.path.dirname(module)
        fetch = (
            f"import runpy, sys; sys.path.insert(0, {json.dumps(folder)}); "
            f"f = runpy.run_path({json.dumps(module)})[{json.dumps(first)}]{''.join('.' + r for r in rest)}"
        )
    else:
        fetch = f"from {module} import {first}; f = {name}"
    fetch += _adapting(target)
    if twice:
        shown = f"t = lambda *a, **k: print(f(*a, **k), f(*a, **k), *a, *k.values()); t({calls[0][2:]}"
    else:
        shown = "; ".join(f"print({c})" for c in list(calls)[:limit])
    return f"python -c {shlex.quote(f'{target.library.imports}; {fetch}; {shown}')}"


def _adapting(target: AdvantageTarget | LossTarget) -> str:
    """Code that calls the function through its trainer's adapter, or ""."""
    adapter = getattr(target.function, "adapter", None)
    if adapter is None:
        return ""
    settings = json.dumps(json.dumps(target.function.adapter_settings))  # type: ignore[attr-defined]
    return (
        "; import json; from gradvar.testing.adapters import adapted, adapter_named; "
        f"f = adapted(adapter_named({json.dumps(adapter.name)}), f, **json.loads({settings}))"
    )


def command(
    law: str, target: AdvantageTarget | LossTarget, changed: Mapping[str, Any], asked: str = ""
) -> str:
    """Return the ``gradvar check`` line that decides this law again with the same target, and exits with 1.

    Args:
        law: The law.
        target: The function under test.
        changed: The settings of the run, None where they are the defaults.
        asked: The options that ask for the law, where its name alone does not.
    """
    if not target.origin:
        return ""
    options_by_name = dict(changed)
    with contextlib.suppress(SignatureError):  # a target made by hand, which the command cannot name
        if inspect_signature(target.function, None, target.signature.fixed).kind != target.kind:
            options_by_name["signature"] = target.kind
    if (candidates(target.function) or [""])[0] != target.library.name:
        options_by_name["library"] = target.library.name
    if isinstance(target, AdvantageTarget):
        for field_ in dataclasses.fields(AdvantageTarget):
            if field_.name in ("domain", "min_group", "epsilon"):
                value = getattr(target, field_.name)
                options_by_name[field_.name.replace("_", "-")] = value if value != field_.default else None
        usual = library(target.library.name)
        if target.library != usual:
            options_by_name["dtypes"] = " ".join((*target.library.floats, *target.library.halves))
    else:
        options_by_name["aggregation"] = target.aggregation or None
    adapter = getattr(target.function, "adapter", None)
    if adapter is not None:
        options_by_name["adapter"] = adapter.name
        options_by_name.pop("library", None)
        settings = target.function.adapter_settings  # type: ignore[attr-defined]
        options_by_name["arguments"] = shlex.quote(json.dumps(settings)) if settings else None
    if target.signature.fixed:
        options_by_name["arguments"] = shlex.quote(json.dumps(dict(target.signature.fixed), default=str))
    options = "".join(f" --{name} {value}" for name, value in options_by_name.items() if value is not None)
    if isinstance(target, LossTarget) and target.sign < 0:
        options += " --maximise"
    wanted = f"{asked} --laws {law}" if asked else f"--laws {law}"
    return f"gradvar check {shlex.quote(target.origin)} {wanted}{options}"
