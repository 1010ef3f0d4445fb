"""The SQL between the columns of a dump and its usable rows: the same for every format."""

from collections.abc import Callable, Iterator, Sequence

from gradvar.audit.columns import OPTIONAL, ColumnLayout
from gradvar.audit.database import literal
from gradvar.audit.malformed import NO_OBJECT
from gradvar.audit.reward_parts import moments_sql

_SUM = "sum({0}) AS {0}, count({0}) AS {0}_n"
_SUMS = {"advantage": _SUM + ", min({0}) AS low, max({0}) AS high", "length": _SUM, "logp": _SUM}
LARGEST = 1e100  # the squares of larger rewards overflow
LONGEST_KEY = (
    1 << 22
)  # bytes of a prompt or the name of a group; a small file may hold one that is far longer


class Query:
    """What ``part.sql`` leaves open, for rows of one layout.

    ``number`` and ``key`` write a column as a number (a struct as in ``macros.sql``) and as a key; ``broken`` is the
    text of a row that is none.
    """

    def __init__(
        self,
        layout: ColumnLayout,
        weights: Sequence[float],
        number: Callable[[str], str],
        key: Callable[[str], str],
        broken: str = "NULL::VARCHAR",
    ) -> None:
        columns = layout.columns
        none = "plain_number(NULL)"
        parts = {"number": "number", "broken": broken}
        parts["step"] = number(columns["step"]) if "step" in columns else f"plain_number({layout.step})"
        if layout.step_words:
            parts["step"] = f"named_number({key(columns['step'])}, {literal(layout.step_words)})"
        parts["prompt"] = key(columns["prompt"])
        parts["grp"] = key(columns["group"]) if "group" in columns else "NULL::VARCHAR"
        parts |= {r: number(columns[r]) if r in columns else none for r in ("advantage", "length", "logp")}
        parts |= {r: key(columns[r]) if r in columns else "NULL::VARCHAR" for r in ("text", "source")}
        parts |= {f"reward_{i}": number(name) for i, name in enumerate(layout.rewards)}
        parts |= {f"part_{i}": number(name) for i, name in enumerate(layout.parts)}
        self._select = "SELECT " + ", ".join(f"{value} AS {name}" for name, value in parts.items())
        # An aggregate takes memory for every cell, whether or not there is anything to add up.
        texts = "min(meaning) AS least_text, max(meaning) AS greatest_text"
        no_texts = "NULL::BIGINT AS least_text, NULL::BIGINT AS greatest_text"
        source = "min(source)" if "source" in columns else "NULL::VARCHAR"
        described = f"{source} AS source, {texts if 'text' in columns else no_texts}"
        apart = [f"usable(part_{i})" for i in range(len(layout.parts))]
        length = ["usable(length)"] if "length" in columns else []
        moments = moments_sql(["reward", *apart, *length]) if apart else ""
        self._rest = {
            "moments": moments,
            "descriptions": described,
            "reward": _total(weights),
            "faults": " ".join(_faults(layout, len(weights))),
            "sums": "".join(f"{_SUMS[role].format(role)}, " for role in OPTIONAL if role in columns),
            "group": "grp," if "group" in columns else "",
        }

    def of(self, source: str) -> dict[str, str]:
        """Return what ``part.sql`` leaves open, for rows from ``source``, which have a ``number`` from 1."""
        return {"fields": f"{self._select} FROM {source}", **self._rest}


def _total(weights: Sequence[float]) -> str:
    """The weighted sum; of several rewards, those that a row lacks count nothing, as in TRL."""
    if len(weights) == 1:
        return f"{weights[0]!r}::DOUBLE * reward_0.value"
    terms = (
        f"coalesce(CASE WHEN isfinite(reward_{i}.value) THEN {w!r}::DOUBLE * reward_{i}.value END, 0)"
        for i, w in enumerate(weights)
    )
    return " + ".join(terms)


def _faults(layout: ColumnLayout, count: int) -> Iterator[str]:
    """The reasons why a row cannot be used, in the order in which they are looked for."""

    def fault(condition: str, reason: str, shown: str = "NULL::VARCHAR") -> str:
        return f"WHEN {condition} THEN {{'reason': {literal(reason)}, 'shown': {shown}}}"

    yield fault("broken IS NOT NULL", NO_OBJECT, "broken")
    for i, name in enumerate(layout.rewards):
        value = f"reward_{i}.value"
        yield fault(
            f"{value} IS NULL AND NOT reward_{i}.missing", f"'{name}' is no number", f"reward_{i}.shown"
        )
        applies = "" if count == 1 else f"NOT isnan({value}) AND "
        yield fault(f"{applies}NOT isfinite({value})", f"'{name}' is not finite")
    missing = " AND ".join(f"coalesce(isnan(reward_{i}.value), true)" for i in range(count))
    yield fault(missing, f"'{layout.rewards[0]}' is missing" if count == 1 else "every reward is missing")
    yield fault(f"NOT abs(reward) <= {LARGEST!r}::DOUBLE", f"the reward is beyond {LARGEST:g}")
    if "step" in layout.columns:
        name = layout.columns["step"]
        yield fault("step.missing", f"'{name}' is missing")
        is_whole = "coalesce(abs(step.value) < 9007199254740992 AND step.value = trunc(step.value), false)"
        yield fault(f"NOT {is_whole}", f"'{name}' is no whole number", "step.shown")
    for role, column in (("prompt", "prompt"), ("group", "grp")):
        if role in layout.columns:
            name = layout.columns[role]
            yield fault(f"{column} IS NULL", f"'{name}' is missing")
            yield fault(
                f"strlen({column}) > {LONGEST_KEY}", f"'{name}' is longer than {LONGEST_KEY >> 20} MB"
            )
