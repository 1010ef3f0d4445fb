"""gradvar: what a group-relative policy-gradient estimator estimates, how noisy it is, and whether claims hold.

``__init__.pyi`` is the table of contents. Each part is loaded when it is first used, so neither the command line nor a
test suite that only needs ``gradvar.testing`` loads JAX. The axes are prompt (Q), group (G), time (T) and param (P);
objectives are maximised.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
