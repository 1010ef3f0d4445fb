"""Packages that only some commands need: when one is missing, a line with a command that installs it.

The command names the package itself, so it works beside a clone of gradvar as it does beside an installed one.
"""

PACKAGES = {
    "hypothesis": "hypothesis",
    "latex2mathml": "latex2mathml",
    "orbax": "orbax-checkpoint",
    "sympy": "sympy",
    "tensorboardX": "tensorboardX",
    "tokenizers": "tokenizers",
    "torch": "torch",
    "z3": "z3-solver",
}
"""By the module that is imported: the package that holds it."""
TOGETHER = (("sympy", "z3", "latex2mathml"), ("orbax", "tensorboardX"))
"""Modules that one command needs together."""


def missing(module: str, user: str = "") -> str:
    """Return the line for a module that is not installed.

    Args:
        module: Its name, such as ``z3`` or ``orbax.checkpoint``.
        user: What needs it.

    >>> missing("hypothesis", "check")
    'check: hypothesis is not installed; pip install hypothesis'
    >>> missing("sympy")
    'sympy is not installed; pip install sympy z3-solver latex2mathml'
    """
    name = module.partition(".")[0]
    group = next((names for names in TOGETHER if name in names), (name,))
    packages = " ".join(PACKAGES.get(each, each) for each in group)
    return f"{f'{user}: ' if user else ''}{PACKAGES.get(name, name)} is not installed; pip install {packages}"


def is_optional(error: ImportError) -> bool:
    """Return True if what could not be imported is one of these packages."""
    return isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in PACKAGES
