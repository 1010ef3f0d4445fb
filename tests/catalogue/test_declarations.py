"""What the estimators of the catalogue declare, by estimator, and the settings on which a declaration depends.

``test_laws.py`` shows of each declaration that it is right; here it is written down a second time, so that one that
changes is seen at once, whichever of the shared sets it comes from.
"""

import json

import pytest

from gradvar import catalogue

BIASED = {"unbiased", "unbiased_up_to_constant", "prompt_weighted"}
CLIP = {"on_policy_unclipped", "zero_beyond_clip", "recovers_beyond_clip"}
ADVANTAGE = {
    "zero_on_equal_rewards", "finite", "zero_sum", "shift_invariant", "scale_equivariant", "scale_invariant",
    "permutation_equivariant", "order_preserving", "sign_against_mean", "bounded", "group_isolated",
    "layout_independent", "singleton_zero", "dtype_preserved", "integer_rewards", "nan_contained",
    "antisymmetric_pair", "leave_one_out_factor", "pure", "no_amplification", "half_precision",
}  # fmt: skip
LOSS = {
    "masked_inert", "microbatch_invariant", "order_invariant", "both_signs", "padding_invariant", "empty_rows_finite",
}  # fmt: skip
EVERY = ADVANTAGE | LOSS | BIASED | CLIP

BROKEN = {
    "reinforce": (
        "zero_on_equal_rewards zero_sum shift_invariant scale_invariant sign_against_mean bounded "
        "singleton_zero antisymmetric_pair leave_one_out_factor"
    ),
    "reinforce_best_constant": (
        "zero_on_equal_rewards zero_sum shift_invariant scale_equivariant scale_invariant sign_against_mean "
        "bounded singleton_zero antisymmetric_pair leave_one_out_factor"
    ),
    "remax": (
        "zero_on_equal_rewards zero_sum shift_invariant scale_equivariant scale_invariant sign_against_mean "
        "bounded singleton_zero antisymmetric_pair leave_one_out_factor"
    ),
    "rloo": "scale_invariant bounded",
    "dr_grpo": "scale_invariant bounded leave_one_out_factor unbiased",
    "grpo": "scale_equivariant leave_one_out_factor BIASED",
    "grpo_sample_std": "scale_equivariant leave_one_out_factor BIASED",
    "grpo_pair": "BIASED",
    "grpo_contrastive": "BIASED",
    "reinforce_pp": (
        "zero_on_equal_rewards zero_sum scale_equivariant sign_against_mean bounded group_isolated "
        "singleton_zero antisymmetric_pair leave_one_out_factor no_amplification microbatch_invariant BIASED"
    ),
    "reinforce_pp_baseline": (
        "scale_equivariant bounded group_isolated leave_one_out_factor no_amplification microbatch_invariant "
        "BIASED"
    ),
    "opo": "zero_sum scale_invariant sign_against_mean bounded antisymmetric_pair leave_one_out_factor BIASED",
    "opo_leave_one_out": "zero_sum scale_invariant order_preserving sign_against_mean bounded leave_one_out_factor",
    "ppo": "microbatch_invariant BIASED",
    "ppo_dual_clip": "microbatch_invariant BIASED",
    "dapo": "scale_equivariant leave_one_out_factor microbatch_invariant BIASED",
    "gspo": "scale_equivariant leave_one_out_factor BIASED",
    "gspo_token": "scale_equivariant leave_one_out_factor BIASED",
    "cispo": "scale_equivariant leave_one_out_factor microbatch_invariant zero_beyond_clip BIASED",
    "gmpo": "scale_equivariant leave_one_out_factor BIASED",
    "sapo": "scale_equivariant leave_one_out_factor zero_beyond_clip BIASED",
    "gpg": "scale_invariant bounded group_isolated leave_one_out_factor microbatch_invariant BIASED",
    "maxrl": (
        "shift_invariant scale_equivariant bounded leave_one_out_factor no_amplification unbiased "
        "unbiased_up_to_constant"
    ),
    "softmax": (
        "scale_equivariant scale_invariant sign_against_mean bounded leave_one_out_factor unbiased "
        "unbiased_up_to_constant"
    ),
    "pass_at_k": (
        "zero_sum scale_invariant sign_against_mean bounded antisymmetric_pair leave_one_out_factor unbiased "
        "unbiased_up_to_constant"
    ),
    "pass_at_k_standardised": "scale_equivariant leave_one_out_factor no_amplification BIASED",
    "bnpo": (
        "shift_invariant scale_equivariant scale_invariant bounded group_isolated leave_one_out_factor "
        "microbatch_invariant BIASED"
    ),
    "krpo": (
        "zero_on_equal_rewards zero_sum shift_invariant scale_invariant permutation_equivariant "
        "order_preserving sign_against_mean bounded singleton_zero antisymmetric_pair leave_one_out_factor "
        "order_invariant BIASED"
    ),
    "ebpo": (
        "zero_on_equal_rewards zero_sum scale_equivariant sign_against_mean bounded group_isolated "
        "singleton_zero antisymmetric_pair leave_one_out_factor no_amplification microbatch_invariant BIASED"
    ),
    "spo": (
        "zero_on_equal_rewards zero_sum scale_equivariant scale_invariant sign_against_mean bounded "
        "group_isolated singleton_zero antisymmetric_pair leave_one_out_factor microbatch_invariant BIASED"
    ),
    "gdpo": "microbatch_invariant BIASED",
    "dpo": "BIASED",
    "ipo": "both_signs BIASED",
    "lpo_forward": "unbiased unbiased_up_to_constant",
    "lpo_reverse": "unbiased unbiased_up_to_constant",
}
"""The laws that are declared not to hold."""

UNSAID = {
    "reinforce": "no_amplification CLIP",
    "reinforce_best_constant": "no_amplification CLIP",
    "remax": "no_amplification CLIP",
    "rloo": "CLIP",
    "dr_grpo": "",
    "grpo": "",
    "grpo_sample_std": "",
    "grpo_pair": "recovers_beyond_clip ADVANTAGE",
    "grpo_contrastive": "recovers_beyond_clip ADVANTAGE",
    "reinforce_pp": "",
    "reinforce_pp_baseline": "",
    "opo": "CLIP",
    "opo_leave_one_out": "CLIP",
    "ppo": (
        "zero_on_equal_rewards zero_sum shift_invariant scale_equivariant scale_invariant order_preserving "
        "sign_against_mean bounded singleton_zero antisymmetric_pair leave_one_out_factor no_amplification"
    ),
    "ppo_dual_clip": (
        "zero_on_equal_rewards zero_sum shift_invariant scale_equivariant scale_invariant order_preserving "
        "sign_against_mean bounded singleton_zero antisymmetric_pair leave_one_out_factor no_amplification"
    ),
    "dapo": "",
    "gspo": "zero_beyond_clip recovers_beyond_clip",
    "gspo_token": "zero_beyond_clip recovers_beyond_clip",
    "cispo": "recovers_beyond_clip",
    "gmpo": "",
    "sapo": "recovers_beyond_clip",
    "gpg": "CLIP",
    "maxrl": "CLIP",
    "softmax": "CLIP",
    "pass_at_k": "CLIP",
    "pass_at_k_standardised": "sign_against_mean",
    "bnpo": "",
    "krpo": "no_amplification",
    "ebpo": "",
    "spo": "no_amplification",
    "gdpo": (
        "zero_on_equal_rewards finite zero_sum shift_invariant scale_equivariant scale_invariant "
        "permutation_equivariant order_preserving sign_against_mean bounded group_isolated layout_independent "
        "singleton_zero dtype_preserved integer_rewards nan_contained antisymmetric_pair leave_one_out_factor "
        "no_amplification half_precision"
    ),
    "dpo": "ADVANTAGE CLIP",
    "ipo": "ADVANTAGE CLIP",
    "lpo_forward": "ADVANTAGE CLIP",
    "lpo_reverse": "ADVANTAGE CLIP",
}
"""The laws that say nothing about an estimator."""


def laws(words):
    named = {"BIASED": BIASED, "CLIP": CLIP, "ADVANTAGE": ADVANTAGE}
    return {law for word in words.split() for law in named.get(word, {word})}


def test_what_every_factory_declares():
    """Of estimators that are made here, not those that the catalogue keeps: so each factory is called."""
    made = {name: factory() for name, factory in catalogue.ENTRIES.items()}
    for name, estimator in made.items():
        broken, unsaid = laws(BROKEN[name]), laws(UNSAID[name])
        declared = {law: law not in broken for law in EVERY - unsaid}
        assert (name, dict(estimator.laws)) == (name, declared)
    shipped = {row["name"]: (row["min_group"], row["needs"]) for row in table()}
    assert {name: (e.min_group, list(e.needs)) for name, e in made.items()} == shipped


def test_declarations_that_depend_on_a_setting():
    def changed(name, **settings):
        one, other = catalogue.get(name).laws, catalogue.get(name, **settings).laws
        return {law: other.get(law) for law in {*one, *other} if one.get(law) != other.get(law)}

    assert changed("opo", include_self=False) == {
        "unbiased": True, "unbiased_up_to_constant": True, "prompt_weighted": True, "antisymmetric_pair": True,
        "order_preserving": False,
    }  # fmt: skip
    assert changed("gpg", f_norm="std") == {"scale_equivariant": False, "scale_invariant": True}
    assert changed("gpg", f_norm="std", eps=1e-9)["no_amplification"] is False
    for eps, holds in ((1e-6, True), (0.9e-6, False)):
        assert catalogue.get("grpo", eps=eps).laws["no_amplification"] is holds
    assert changed("grpo", beta=0.5) == {"kl_direction": True}
    assert changed("grpo", eps=0.0) == {"no_amplification": False}
    assert changed("ppo", dual=1.01) == {}
    with pytest.raises(ValueError, match=r"dual: 1\.0; give a cap above 1, such as 3"):
        catalogue.get("ppo", dual=1.0)


def test_the_table_that_is_shipped_has_these_settings(tmp_path):
    """Defaults, needs and smallest groups as in the page that readers see."""
    catalogue._write(tmp_path / "table.json")
    assert (tmp_path / "table.json").read_bytes() == catalogue.TABLE.read_bytes()


def table():
    return json.loads(catalogue.TABLE.read_text(encoding="utf-8"))
