"""Run a few statements of an installed function by themselves, where a trainer has no function for its
advantages.

TRL and OpenRLHF compute advantages in the middle of a method of hundreds of lines. ``excerpt`` reads that
method's source from the installed package at run time, keeps the statements between two markers, and
compiles them in their own module's namespace: their code as it is, with only its inputs given by hand."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any


def excerpt(
    method: Callable[..., Any], first: str, last: str
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The top-level statements from the one that starts with ``first`` to the last that starts with ``last``.

    The result takes the names that the statements read and returns all names after they have run. Raises
    ``LookupError`` where the installed version has no such statements: the adapter then needs another look.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    texts = [ast.unparse(node) for node in function.body]
    begin = next((i for i, text in enumerate(texts) if text.startswith(first)), None)
    ends = [i for i, text in enumerate(texts) if text.startswith(last)]
    if begin is None or not ends or ends[0] < begin:
        raise LookupError(
            f"{method.__qualname__} of the installed version has no statements '{first}' to '{last}'"
        )
    module = ast.Module(body=function.body[begin : ends[0] + 1], type_ignores=[])
    code = compile(module, inspect.getsourcefile(method) or "<peer>", "exec")
    scope = inspect.unwrap(method).__globals__

    def run(names: Mapping[str, Any]) -> dict[str, Any]:
        values = dict(names)
        exec(code, scope, values)
        return values

    return run
