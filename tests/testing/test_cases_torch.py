"""Faults modelled on reports, in the signatures of trainers: each file has ``faulty`` and its twin ``fixed``.

``gradvar check`` must fail the first by a law that names the fault, and pass the second, with the flags of the table.
"""

from pathlib import Path

import pytest

from gradvar.cli.check import Check, examine

pytest.importorskip("torch")
pytest.importorskip("jax")

CASES = Path(__file__).parent / "cases"
# file: the laws of which one must fail, and the flags that a user would give
TABLE = {
    "std_of_batch": ({"group_isolated", "singleton_zero"}, {}),
    "gae_no_bootstrap": ({"gae_bootstrap"}, {}),
    "reward_in_hole": ({"hole_ends_nothing"}, {}),
    "clip_low_as_high": ({"both_signs", "clip_form"}, {}),
    "gspo_sum": ({"masked_inert", "padding_invariant"}, {}),
    "cispo_no_detach": ({"clip_form"}, {}),
    "tis_in_loss_not_applied": ({"arrays_matter"}, {}),
    "k3_reversed": ({"kl_term"}, {}),
    "entropy_sign": ({"entropy_raises"}, {}),
    "second_mask_ignored": ({"arrays_matter"}, {}),
    "packed_boundary": ({"shapes", "rows_isolated"}, {}),
    "advantage_broadcast": (
        {"group_isolated"},
        {"excepting": ("nan_contained",), "because": ("the rewards are finite",)},
    ),
    "per_token_no_mask": ({"padding_invariant"}, {}),
}


def test_the_table_is_whole():
    assert {file.stem for file in CASES.glob("*.py")} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_the_faulty_one_fails_and_the_fixed_one_passes(name):
    laws, flags = TABLE[name]
    faulty = examine(Check(f"{CASES / name}.py:faulty", examples=30, **flags))
    assert {result.name for result in faulty.failures} & laws, faulty.table()
    fixed = examine(Check(f"{CASES / name}.py:fixed", examples=30, **flags))
    assert fixed.ok, fixed.table()
