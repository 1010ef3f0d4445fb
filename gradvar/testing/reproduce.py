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
from gradvar.testing.signatures import SignatureError, inspect_signature
from gradvar.testing.targets import AdvantageTarget, LossTarget


def reproduction(
    target: AdvantageTarget | LossTarget, calls: Sequence[str], most: int = 2, twice: bool = False
) -> str:
    """A shell line that calls the function as the law did, without the kit; ``twice`` calls it two times with
    the same array, and prints that too."""
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
    if twice:
        shown = f"t = lambda *a, **k: print(f(*a, **k), f(*a, **k), *a, *k.values()); t({calls[0][2:]}"
    else:
        shown = "; ".join(f"print({c})" for c in list(calls)[:most])
    return f"python -c {shlex.quote(f'{target.library.imports}; {fetch}; {shown}')}"


def command(law: str, target: AdvantageTarget | LossTarget, changed: Mapping[str, Any]) -> str:
    """The ``gradvar check`` line that decides this law as it was decided here, with all that was said of the
    target, and exits with 1; ``changed`` are settings of the run, None where they are the usual ones."""
    if not target.origin:
        return ""
    said = dict(changed)
    with contextlib.suppress(SignatureError):  # a target made by hand, which the command cannot name
        if inspect_signature(target.function, None, target.signature.fixed).kind != target.kind:
            said["signature"] = target.kind
    if (candidates(target.function) or [""])[0] != target.library.name:
        said["library"] = target.library.name
    if isinstance(target, AdvantageTarget):
        for field_ in dataclasses.fields(AdvantageTarget):
            if field_.name in ("domain", "min_group", "epsilon"):
                value = getattr(target, field_.name)
                said[field_.name.replace("_", "-")] = value if value != field_.default else None
        usual = library(target.library.name)
        if target.library != usual:
            said["dtypes"] = " ".join((*target.library.floats, *target.library.halves))
    else:
        said["aggregation"] = target.aggregation or None
    if target.signature.fixed:
        said["arguments"] = shlex.quote(json.dumps(dict(target.signature.fixed), default=str))
    options = "".join(f" --{name} {value}" for name, value in said.items() if value is not None)
    if isinstance(target, LossTarget) and target.sign < 0:
        options += " --maximise"
    return f"gradvar check {shlex.quote(target.origin)} --claims {law} --laws {law}{options}"
