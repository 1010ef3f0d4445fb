"""A few statements of an installed method by themselves, where a trainer has no function for its advantages.

The method's source is read from the installed package, and the statements between two markers are compiled in their
own module's namespace: the trainer's code as it is, with only its inputs given by hand.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any


def excerpt(
    method: Callable[..., Any], first: str, last: str
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The statements from the one that starts with ``first`` to the first that starts with ``last``.

    The result takes the names that the statements read and returns all names after they have run. Raises
    ``LookupError`` where the installed version has no such statements.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    texts = [ast.unparse(node) for node in function.body]
    begin = next((i for i, text in enumerate(texts) if text.startswith(first)), None)
    end = next((i for i, text in enumerate(texts) if text.startswith(last)), None)
    if begin is None or end is None or end < begin:
        raise LookupError(f"{method.__qualname__} has no statements from '{first}' to '{last}'")
    module = ast.Module(body=function.body[begin : end + 1], type_ignores=[])
    code = compile(module, inspect.getsourcefile(method) or "<peer>", "exec")
    scope = inspect.unwrap(method).__globals__

    def run(names: Mapping[str, Any]) -> dict[str, Any]:
        values = dict(names)
        exec(code, scope, values)
        return values

    return run
