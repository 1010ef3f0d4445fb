"""The examples that the advantage laws are tried on, and the targets that a law does not apply to.

Each function takes a target and returns a Hypothesis strategy of keyword arguments for a check, or, for the
functions that start with ``needs``, the reason why a law does not apply ("" where it does). Targets that are alike
get the same strategy, built once, so that what is drawn from it is drawn once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any

from hypothesis import strategies as st

from gradvar.testing import strategies as gen
from gradvar.testing.arrays import Library
from gradvar.testing.laws.base import Example
from gradvar.testing.laws.traits import isolates
from gradvar.testing.targets import AdvantageTarget

Groups = tuple[tuple[float, ...], ...]
Examples = st.SearchStrategy[Example]


@dataclass(frozen=True)
class Likeness:
    """All of a target that its examples depend on."""

    library: Library
    domain: str
    min_group: int
    ragged: bool
    isolates: bool


def shared(build: Callable[..., Examples]) -> Callable[..., Examples]:
    """Turn a function of a likeness, and of further hashable arguments, into one of targets that builds once."""
    built = cache(build)

    @wraps(build)
    def examples(target: AdvantageTarget, **more: Any) -> Examples:
        like = Likeness(target.library, target.domain, target.min_group, target.ragged, isolates(target))
        return built(like, **more)

    return examples


def batches(like: Likeness, **limits: int) -> st.SearchStrategy[Groups]:
    """Exact rewards of several prompts, of unequal size where the target takes them."""
    smallest = max(2, like.min_group)
    largest = limits.pop("max_size", max(5, smallest + 1))
    return gen.batches(
        gen.rewards(like.domain), ragged=like.ragged, min_size=smallest, max_size=largest, **limits
    )


def other_groups(like: Likeness, size: int) -> st.SearchStrategy[Groups]:
    """No other group or a further one of that size, for the same call; none where the groups are one to it."""
    return _other_groups(like.domain, size if like.isolates else 0)


@cache
def _other_groups(domain: str, size: int) -> st.SearchStrategy[Groups]:
    if not size:
        return st.just(())
    return st.lists(gen.groups(gen.rewards(domain), size, size), min_size=0, max_size=1).map(tuple)


@shared
def small_batches(like: Likeness, max_size: int = 5) -> Examples:
    """One or two groups."""
    return st.fixed_dictionaries(
        {"groups": batches(like, max_prompts=2, max_size=max(max_size, like.min_group))}
    )


@shared
def several(like: Likeness) -> Examples:
    """Two or three groups."""
    return st.fixed_dictionaries({"groups": batches(like, min_prompts=2, max_prompts=3)})


@shared
def shifted(like: Likeness) -> Examples:
    """Groups, and what is added to their rewards; nothing negative unless the domain is real."""
    shifts = st.sampled_from(
        [1.0, 0.5, 4.0, 100.0, 4096.0, *([] if like.domain != "real" else [-1.0, -0.125])]
    )
    return st.fixed_dictionaries({"groups": batches(like, max_prompts=2), "shift": shifts})


@shared
def rescaled(like: Likeness, scales: tuple[float, ...]) -> Examples:
    """Groups, and the factor of their rewards."""
    return st.fixed_dictionaries({"groups": batches(like, max_prompts=2), "scale": st.sampled_from(scales)})


@shared
def reordered(like: Likeness) -> Examples:
    """Groups, and an order of as many rows as the largest has."""
    order = st.permutations(range(max(5, like.min_group + 1))).map(tuple)
    return st.fixed_dictionaries({"groups": batches(like, max_prompts=2), "order": order})


@shared
def isolated(like: Likeness) -> Examples:
    """Groups, and another group to take the place of the last."""
    reward = gen.rewards(like.domain)

    def with_other(groups: Groups) -> Examples:
        size = len(groups[-1])
        return st.fixed_dictionaries({"groups": st.just(groups), "other": gen.groups(reward, size, size)})

    return batches(like, min_prompts=2, max_prompts=3).flatmap(with_other)


@shared
def laid_out(like: Likeness) -> Examples:
    """Groups, and the seed of a shuffle."""
    groups = batches(like, min_prompts=2, max_prompts=3)
    return st.fixed_dictionaries({"groups": groups, "seed": st.integers(0, 50)})


@shared
def doubled(like: Likeness) -> Examples:
    """Groups, and the identity of each group's prompt."""
    groups = batches(like, min_prompts=2, max_prompts=3)
    return st.fixed_dictionaries({"groups": groups, "prompts": gen.prompts_with_duplicates(3)})


@shared
def pairs(like: Likeness) -> Examples:
    """Two rewards, and further pairs for the same call."""
    pair = st.tuples(gen.rewards(like.domain), gen.rewards(like.domain))
    others = st.lists(pair, max_size=1 if like.isolates else 0).map(tuple)
    return st.fixed_dictionaries({"pair": pair, "beside": others})


@shared
def equal(like: Likeness) -> Examples:
    """A group of equal rewards in some dtype, and further groups for the same call.

    float16 is left out: an epsilon of 1e-6 is below its smallest normal number, and compilers flush it to
    zero. The law ``half_precision`` covers equal rewards there.
    """

    @cache
    def in_dtype(dtype: str) -> Examples:
        def with_others(group: tuple[float, ...]) -> Examples:
            others = other_groups(like, len(group))
            return st.fixed_dictionaries({"group": st.just(group), "dtype": st.just(dtype), "beside": others})

        return gen.equal_groups(dtype, like.domain, max(2, like.min_group)).flatmap(with_others)

    return st.sampled_from(like.library.floats).flatmap(in_dtype)


@shared
def scales(like: Likeness) -> Examples:
    """A group at a tiny or huge scale, in a dtype that has room for it."""

    @cache
    def in_dtype(dtype: str) -> Examples:
        group = gen.scaled_groups(like.domain, dtype).filter(lambda g: len(g) >= like.min_group)
        return st.fixed_dictionaries({"groups": group.map(lambda g: (g,)), "dtype": st.just(dtype)})

    return _wide_dtypes(like).flatmap(in_dtype)


@shared
def singletons(like: Likeness) -> Examples:
    """One reward other than zero, and further groups for the same call."""
    reward = gen.rewards(like.domain).filter(lambda r: r != 0)
    others = other_groups(like, 3 if like.ragged else 1)
    return st.fixed_dictionaries({"reward": reward, "beside": others})


@shared
def small(like: Likeness) -> Examples:
    """A small group in one of the dtypes that users pass."""
    return _small(like, like.library.floats)


def _small(like: Likeness, dtypes: tuple[str, ...]) -> Examples:
    group = gen.groups(gen.rewards(like.domain), max(2, like.min_group), max(5, like.min_group))
    return st.fixed_dictionaries({"group": group, "dtype": st.sampled_from(dtypes)})


@shared
def halves(like: Likeness) -> Examples:
    """A group in half precision: graded, of equal rewards, or of rewards whose squares overflow float16."""
    if like.domain == "binary":
        return _small(like, like.library.halves)
    equal_rewards = gen.equal_groups("float32", like.domain, max_size=8)
    graded = gen.groups(gen.graded(), 2, 6)
    # rewards of order a hundred overflow float16 when they are squared
    large = gen.groups(st.sampled_from([0.0, 1.0, 300.0]), 2, 4)
    return st.fixed_dictionaries(
        {"group": st.one_of(graded, equal_rewards, large), "dtype": st.sampled_from(like.library.halves)}
    )


@shared
def integers(like: Likeness) -> Examples:
    """A group of integer rewards."""
    group = gen.integer_groups(like.domain, max(2, like.min_group), max(4, like.min_group))
    return st.fixed_dictionaries({"groups": group.map(lambda g: (g,))})


@shared
def poisoned(like: Likeness) -> Examples:
    """A group with a NaN or infinite reward, and further groups for the same call."""
    smallest = max(2, like.min_group)

    def with_others(bad: tuple[tuple[float, ...], int, float]) -> Examples:
        others = other_groups(like, len(bad[0]))
        return st.fixed_dictionaries({"poisoned": st.just(bad), "beside": others})

    return gen.poisoned_groups(like.domain, smallest, max(4, smallest)).flatmap(with_others)


@shared
def plain(like: Likeness) -> Examples:
    """One or two small groups of equal size."""
    smallest = max(2, like.min_group)
    groups = gen.batches(
        gen.rewards(like.domain), max_prompts=2, min_size=smallest, max_size=max(4, smallest)
    )
    return st.fixed_dictionaries({"groups": groups})


@shared
def noisy(like: Likeness) -> Examples:
    """A group that is equal but for rounding (``near``), or any other, some with one odd reward."""
    smallest = max(2, like.min_group)
    lone = st.integers(max(3, smallest), max(8, smallest)).flatmap(_lone)
    other = st.one_of(lone, gen.groups(gen.rewards(like.domain), smallest, max(6, smallest)))

    @cache
    def in_dtype(dtype: str) -> Examples:
        choices = [st.tuples(other, st.just(False))]
        if like.domain != "binary":
            near = gen.near_equal_groups(dtype, like.domain, smallest, max(8, smallest))
            choices += [st.tuples(near, st.just(True)), st.tuples(near, st.just(True))]
        return st.one_of(*choices).map(lambda p: {"group": p[0], "dtype": dtype, "near": p[1]})

    return _wide_dtypes(like).flatmap(in_dtype)


@cache
def _lone(size: int) -> st.SearchStrategy[tuple[float, ...]]:
    rest = size - 1
    return st.sampled_from([(1.0, *(0.0,) * rest), (0.0, *(0.35,) * rest), (0.0, *(0.95,) * rest)])


@shared
def padded(like: Likeness) -> Examples:
    """A group, and what fills the padding of its tokens."""
    group = gen.groups(gen.rewards(like.domain), max(2, like.min_group), max(4, like.min_group))
    garbage = st.sampled_from([1.0, -7.0, float("nan"), float("inf")])
    return st.fixed_dictionaries({"group": group, "garbage": garbage})


def _wide_dtypes(like: Likeness) -> st.SearchStrategy[str]:
    return st.sampled_from([d for d in like.library.floats if d != "bfloat16"])


def needs(reason: str, applies: Callable[[AdvantageTarget], bool]) -> Callable[[Any], str]:
    """The condition of a law: ``applies(target)``, else the reason why the law does not apply."""
    return lambda target: "" if applies(target) else reason


needs_batch = needs("one group per call", lambda t: t.batched)
needs_ragged = needs("the signature takes groups of one size only", lambda t: t.ragged)
needs_real = needs("meant for binary rewards", lambda t: t.domain != "binary")
needs_dtypes = needs("lists have no dtype", lambda t: t.library.name != "list")
needs_halves = needs("the library has no half precision", lambda t: bool(t.library.halves))


def needs_pairs(target: AdvantageTarget) -> str:
    """For laws about groups of two."""
    return "" if target.min_group <= 2 else f"needs groups of {target.min_group}"


def needs_tokens(target: AdvantageTarget) -> str:
    """For laws about token rewards and their mask."""
    if target.kind != "token-level":
        return "there are no tokens"
    return "" if target.signature.takes("mask") else "it takes no mask"
