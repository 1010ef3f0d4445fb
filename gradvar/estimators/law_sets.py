"""Declared laws that several estimators share, as data; each factory merges them and writes its own on top.

Names and statements are in ``gradvar.testing.names``. How they are read here:

- Advantage laws are about the advantage piece as a function of the rewards, with everything else that it
  reads (lengths, a given baseline, values) held fixed, and reordered together with the rewards where rollouts
  or prompts are reordered. "All rewards" means all rewards of the batch; a shift or a scale is one number for
  the batch.
- Loss laws are about the token weights; statistical laws about the expected gradient on policy, with rollouts
  of unequal length, in batches of one prompt or more.
- ``ragged_groups`` and ``duplicate_prompts`` are left out everywhere: rewards are [prompt, group],
  rectangular and without prompt ids, so that neither can be broken.
- ``nan_contained`` is about rewards as they reach an estimator, through ``Batch``, which refuses what is not
  finite; the pieces by themselves give zero to a group that holds a NaN or an infinity.
- ``no_amplification`` is about rewards of order one: where something is divided by a standard deviation, it
  holds if the epsilon is well above single-precision rounding (``calm``), and is left out where nothing is
  compared.
- ``both_signs`` is about the advantage as the estimator forms it: its token weights have its sign on policy.
"""

from collections.abc import Mapping
from types import MappingProxyType

Laws = Mapping[str, bool]


def merged(*parts: Laws, **declared: bool) -> Laws:
    """The laws of all parts, later ones on top, then those that the estimator declares itself."""
    laws: dict[str, bool] = {}
    for part in parts:
        laws.update(part)
    return MappingProxyType({**laws, **declared})


def without(laws: Laws, *names: str) -> Laws:
    """The laws less those that do not apply."""
    return MappingProxyType({name: holds for name, holds in laws.items() if name not in names})


SOUND: Laws = MappingProxyType(
    {
        "finite": True,
        "nan_contained": True,
        "half_precision": True,
        "permutation_equivariant": True,
        "layout_independent": True,
        "dtype_preserved": True,
        "integer_rewards": True,
        "pure": True,
    }
)
"""What every advantage here keeps."""

PER_GROUP: Laws = MappingProxyType({"group_isolated": True})
ACROSS_GROUPS: Laws = MappingProxyType({"group_isolated": False})

UNCENTRED: Laws = merged(
    SOUND,
    PER_GROUP,
    zero_on_equal_rewards=False,
    zero_sum=False,
    shift_invariant=False,
    scale_equivariant=False,
    scale_invariant=False,
    order_preserving=True,
    sign_against_mean=False,
    bounded=False,
    singleton_zero=False,
    antisymmetric_pair=False,
    leave_one_out_factor=False,
)
"""The reward less something that the group's rewards do not enter."""

CENTRED: Laws = merged(
    SOUND,
    PER_GROUP,
    zero_on_equal_rewards=True,
    zero_sum=True,
    shift_invariant=True,
    scale_equivariant=True,
    scale_invariant=False,
    order_preserving=True,
    sign_against_mean=True,
    bounded=False,
    singleton_zero=True,
    antisymmetric_pair=True,
    leave_one_out_factor=False,
    no_amplification=True,
)
"""The reward less the group's mean."""

STANDARDISED: Laws = merged(CENTRED, scale_equivariant=False, scale_invariant=True, bounded=True)
"""The same over the group's standard deviation (population or sample: both are within sqrt(G - 1))."""

ROW_WISE: Laws = MappingProxyType(
    {
        "masked_inert": True,
        "microbatch_invariant": True,
        "order_invariant": True,
        "padding_invariant": True,
        "both_signs": True,
        "empty_rows_finite": True,
    }
)
"""A loss whose rollouts, or prompts, have weights of their own: no denominator is shared over the batch."""

BATCH_WISE: Laws = merged(ROW_WISE, microbatch_invariant=False)
"""A loss that divides by something of the whole batch."""

CLIPPED: Laws = MappingProxyType(
    {"on_policy_unclipped": True, "zero_beyond_clip": True, "recovers_beyond_clip": True}
)
SOFT: Laws = MappingProxyType({"on_policy_unclipped": True, "zero_beyond_clip": False})

UNBIASED: Laws = MappingProxyType(
    {"unbiased": True, "unbiased_up_to_constant": True, "prompt_weighted": True}
)
PROPORTIONAL: Laws = merged(UNBIASED, unbiased=False)
PROMPT_WEIGHTED: Laws = merged(PROPORTIONAL, unbiased_up_to_constant=False)
BIASED: Laws = merged(PROMPT_WEIGHTED, prompt_weighted=False)


def calm(eps: float) -> Laws:
    """``no_amplification`` of a standard deviation plus ``eps``: single precision, rewards up to one."""
    return {"no_amplification": eps >= 1e-6}


def with_kl(beta: float) -> Laws:
    """The law of the KL term, declared where there is one."""
    return {"kl_direction": True} if beta else {}
