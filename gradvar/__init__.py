"""gradvar: what a group-relative policy-gradient estimator estimates, how noisy it is, and whether claims hold.

``__init__.pyi`` is the table of contents. Each part is loaded when it is first used, so neither the command line nor a
test suite that only needs ``gradvar.testing`` loads JAX. The axes are prompt (Q), group (G), time (T) and param (P);
objectives are maximised.
"""

from typing import Any

import lazy_loader

__version__ = "0.1.0"

_lazily, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _lazily(name)
    except ModuleNotFoundError as error:
        from gradvar.core.extras import is_optional, missing

        if not is_optional(error):
            raise
        raise ModuleNotFoundError(missing(error.name or "", f"gradvar.{name}"), name=error.name) from None
