"""What a dump should not show: each with a count, and a sentence on where it may come from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradvar.audit.logged_advantages import Written
from gradvar.audit.malformed import Faults
from gradvar.audit.reward_counts import Cells


@dataclass(frozen=True)
class Suspicion:
    """Something suspicious: a short ``kind`` to select by, how many there are, and a sentence."""

    kind: str
    count: int
    sentence: str


def suspicions(
    cells: Cells,
    faults: Faults,
    wrote: Written | None,
    used: str | None,
    ambiguous: Sequence[str] = (),
    copies: Sequence[Sequence[str]] = (),
) -> tuple[Suspicion, ...]:
    """Return everything suspicious that is there at least once.

    Args:
        cells: Rollouts, added up.
        faults: Rows and files that could not be read.
        wrote: The advantages in the dump against those computed from its rewards, if it has any.
        used: The estimator that was named by hand, if one was.
        ambiguous: Identities of prompts with several texts.
        copies: Files with the same rollouts.
    """
    shown = ", ".join(repr(name[:40]) for name in ambiguous[:3])
    suspects = [
        Suspicion(
            "one identity, several texts",
            len(ambiguous),
            f"{len(ambiguous)} prompts have one identity and different texts or tokens ({shown}): an index within a "
            "batch is no identity; name the column of the text with --prompt.",
        ),
        Suspicion(
            "files repeated",
            len(copies),
            "Files hold the same rollouts, and each of them counts: "
            f"{'; '.join(' and '.join(files[:3]) for files in copies[:3])}. Give one of them alone.",
        ),
        *_unreadable(faults),
        *_grouping(cells),
        *_rewards(cells),
        *_repeated(cells),
        *(_advantages(wrote, used) if wrote else ()),
    ]
    return tuple(f for f in suspects if f.count)


def _unreadable(faults: Faults) -> list[Suspicion]:
    places = "; ".join(map(str, faults.unread[:3]))
    return [
        Suspicion(
            "malformed",
            faults.count,
            f"{faults.count} malformed rows are left out; their groups are incomplete.",
        ),
        Suspicion(
            "unread", len(faults.unread), f"Files that could not be read, or not to their end: {places}."
        ),
    ]


def _grouping(cells: Cells) -> list[Suspicion]:
    groups = cells.groups
    count = len(groups.size)
    alone = int((groups.size == 1).sum())
    if alone == count:
        sentence = "Every group has one rollout, so there is no baseline; is the column of the prompt (or group) right?"
        return [Suspicion("groups of one", alone, sentence)]
    usual, (sizes, _) = groups.usual_size, groups.sizes
    odd = groups.size != usual
    several = odd & (groups.size % usual == 0) if usual > 1 else np.zeros(count, bool)
    others = int((odd & ~several).sum())
    suspects = [
        Suspicion(
            "unequal sizes",
            others,
            f"{others} of {count} groups do not have {usual} rollouts (sizes {sizes[0]} to {sizes[-1]}): rows are "
            "missing, or prompts are repeated or mixed up.",
        ),
    ]
    merged = int(several.sum())
    if cells.grouped:
        suspects += _crossed(cells)
        sentence = f"{merged} of {count} groups have a multiple of {usual} rollouts: groups may have been run together."
        suspects.append(Suspicion("several times the size", merged, sentence))
    else:
        suspects.append(
            Suspicion(
                "prompts repeated",
                merged,
                f"{merged} of {count} groups have a multiple of {usual} rollouts: a prompt occurs more than once in a "
                "step. Its rollouts are taken as one group here, and by trainers that group by prompt; name the "
                "column of the group if there is one.",
            )
        )
    return suspects


def _crossed(cells: Cells) -> list[Suspicion]:
    groups = cells.groups
    mixed = int((groups.prompts > 1).sum())
    pairs = np.unique(np.stack([cells.step, cells.prompt, groups.of_cell]), axis=1)
    same = (np.diff(pairs[0]) == 0) & (np.diff(pairs[1]) == 0)
    # the first of every (step, prompt) that has more than one group
    spread = int((same & ~np.append(False, same[:-1])).sum()) if len(same) else 0
    return [
        Suspicion(
            "groups of several prompts",
            mixed,
            f"{mixed} of {len(groups.size)} groups hold rollouts of several prompts: the baseline of one prompt is "
            "subtracted from another's rewards.",
        ),
        Suspicion(
            "prompts in several groups",
            spread,
            f"{spread} times a prompt's rollouts of one step are spread over several groups: each has a noisier "
            "baseline than the rollouts allow; intended only if the prompt was chosen more than once.",
        ),
    ]


def _rewards(cells: Cells) -> list[Suspicion]:
    groups = cells.groups
    rounding = int(groups.by_rounding.sum())
    steps, by = groups.steps
    dead = int((np.bincount(by, ~groups.equal, len(steps)) == 0).sum())
    suspects = [
        Suspicion(
            "rounding",
            rounding,
            f"{rounding} groups have rewards that differ by rounding only: a division by their standard deviation "
            "makes full-size advantages of the rounding; round the rewards first.",
        ),
    ]
    if len(steps) > 1 or len(groups.size) > 1:
        suspects.append(
            Suspicion("no signal", dead, f"In {dead} of {len(steps)} steps every group has equal rewards.")
        )
    return suspects


def _repeated(cells: Cells) -> list[Suspicion]:
    """Steps whose prompts and rewards are exactly those of the step before: the same rollouts, logged again."""
    steps, start = np.unique(cells.step, return_index=True)
    ends = np.append(start[1:], len(cells.step))
    if len(steps) < 2:
        return []

    groups = cells.groups
    differing = np.bincount(np.searchsorted(steps, groups.step), ~groups.equal, len(steps))

    def same(i: int) -> bool:
        if differing[i] < 4:  # few groups, or equal rewards only, may well come out alike twice
            return False
        a, b = slice(start[i], ends[i]), slice(start[i + 1], ends[i + 1])
        if ends[i] - start[i] != ends[i + 1] - start[i + 1]:
            return False
        arrays = (cells.prompt, cells.reward, cells.n)
        return all(np.array_equal(x[a], x[b]) for x in arrays)

    again = [int(steps[i + 1]) for i in range(len(steps) - 1) if same(i)]
    names = ", ".join(map(str, again[:5])) + (", ..." if len(again) > 5 else "")
    return [
        Suspicion(
            "steps repeated",
            len(again),
            f"Steps that have the prompts and rewards of the step before them, "
            f"as a trainer that logs the same rollouts again: {names}.",
        )
    ]


def _advantages(wrote: Written, used: str | None) -> list[Suspicion]:
    suspects = [
        Suspicion(
            "equal rewards, unequal advantages",
            wrote.torn,
            f"{wrote.torn} times rollouts of one group have the same reward and different advantages: the trainer "
            "groups otherwise, or its advantages depend on more than the rewards here.",
        ),
    ]
    centred = wrote.formula not in ("the reward itself", "the step's std and mean")
    if centred:
        suspects.append(
            Suspicion(
                "advantages from nothing",
                wrote.in_equal,
                f"{wrote.in_equal} rollouts of groups with equal rewards have an advantage that is not "
                f"zero (up to {wrote.largest_in_equal:.3g}): rounding divided by a small deviation, or "
                "another grouping.",
            )
        )
    if wrote.rollouts and wrote.formula is None:
        best = wrote.fits[0]
        suspects.append(
            Suspicion(
                "advantages unexplained",
                wrote.rollouts,
                f"No formula gives the advantages in the dump; the closest, {best.formula}, explains "
                f"{100 * best.explained:.1f} % of the rollouts. Are rewards weighted (--reward-weights), "
                "shaped afterwards, or grouped otherwise?",
            )
        )
    suspects.append(
        Suspicion(
            "advantages off",
            wrote.others,
            f"{wrote.others} rollouts have another advantage than '{wrote.formula}', which explains the "
            "others: rows of their groups are missing, or they were treated apart.",
        )
    )
    if wrote.formula and used and wrote.estimator != used and not _same(wrote.estimator, used):
        sentence = f"The advantages in the dump are those of '{wrote.formula}', not of {used}."
        suspects.append(Suspicion("another estimator", 1, sentence))
    return suspects


def _same(first: str | None, second: str) -> bool:
    from gradvar.audit.schemes import SCHEMES

    return first is not None and SCHEMES[first] is SCHEMES[second]
