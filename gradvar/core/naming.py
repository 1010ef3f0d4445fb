"""Names as people type them: neither case nor hyphens, underscores, dots and spaces count, and "++" is "pp".

>>> resolve_name("Dr. GRPO", ("grpo", "dr_grpo"))
'dr_grpo'
>>> resolve_name("REINFORCE++", ("reinforce", "reinforce_pp"))
'reinforce_pp'
>>> resolve_name("grpoo", ("grpo", "dr_grpo"))
Traceback (most recent call last):
ValueError: no 'grpoo'; nearest: grpo, dr_grpo
"""

import difflib
import re
from collections.abc import Iterable


def resolve_name(name: str, names: Iterable[str]) -> str:
    """Return the one of ``names`` that is meant. Raises ``ValueError``, which gives the nearest, where none is."""
    known = tuple(names)
    if name in known:
        return name
    spelled = {_letters(candidate): candidate for candidate in known}
    if _letters(name) in spelled:
        return spelled[_letters(name)]
    raise ValueError(f"no '{name}'; nearest: {', '.join(nearest(name, known) or known)}")


def nearest(name: str, names: Iterable[str], most: int = 3, likeness: float = 0.4) -> list[str]:
    """Return the ``names`` that are written most like this one, the likest first, if any are like it at all.

    Args:
        name: What was typed.
        names: What it might stand for.
        most: How many are returned at most.
        likeness: From 0, anything, to 1, the same letters.
    """
    return difflib.get_close_matches(str(name).lower(), list(names), n=most, cutoff=likeness)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower().replace("+", "p"))
