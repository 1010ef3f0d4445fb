"""The catalogue as a user meets it: names, settings, errors, descriptions, caching."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import gradvar.estimators
from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator

WANTED = [
    "reinforce", "reinforce_best_constant", "remax", "rloo", "dr_grpo", "grpo", "grpo_sample_std",
    "grpo_pair", "grpo_contrastive", "reinforce_pp", "reinforce_pp_baseline", "opo", "opo_leave_one_out",
    "ppo", "ppo_dual_clip", "dapo", "gspo", "gspo_token", "cispo", "gmpo", "sapo", "gpg", "maxrl", "softmax",
    "pass_at_k", "pass_at_k_standardised", "bnpo", "krpo", "ebpo", "spo", "gdpo", "dpo", "ipo", "lpo_forward",
    "lpo_reverse",
]  # fmt: skip


def test_names_are_these():
    assert list(catalogue.names()) == WANTED
    assert len(set(WANTED)) == len(WANTED)


@pytest.mark.parametrize("name", WANTED)
def test_every_entry_is_described(name):
    estimator, entry = catalogue.get(name), catalogue.describe(name)
    assert isinstance(estimator, Estimator)
    assert estimator.name == entry.name == name
    assert entry.summary.endswith(".")
    assert entry.paper.title
    assert entry.paper.arxiv
    assert entry.paper.equation
    assert entry.needs == estimator.needs
    assert entry.min_group == estimator.min_group >= 1
    assert {s for s, value in entry.settings.items() if value is None} <= {"dual", "weights"}


def test_one_instance_per_settings():
    assert catalogue.get("grpo") is catalogue.get("grpo")
    assert catalogue.get("grpo") is catalogue.get("grpo", ddof=0)
    assert catalogue.get("grpo", ddof=1) is catalogue.get("grpo", ddof=1)
    assert catalogue.get("grpo", ddof=1) is not catalogue.get("grpo")
    assert catalogue.get("gdpo", weights=[1.0, 2.0]) is catalogue.get("gdpo", weights=(1.0, 2.0))


def test_instances_are_static_arguments():
    traced = []

    def value(estimator, logp, batch):
        traced.append(estimator.name)
        return estimator(logp, batch)

    run = jax.jit(value, static_argnums=0)
    batch = Batch([[1.0, 0.0]], np.zeros((1, 2, 1)))
    for _ in range(3):
        run(catalogue.get("rloo"), batch.logp_old, batch)
    assert traced == ["rloo"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("gpro", "grpo"),
        ("rlo", "rloo"),
        ("GRPO-pears", "grpo_pair"),
        ("pass@k", "pass_at_k"),
        ("rloo;grpo", "grpo"),
    ],
)
def test_an_unknown_name_gets_the_nearest_ones(name, near):
    with pytest.raises(ValueError, match=f"estimator: no '{name}' in the catalogue; nearest: .*{near}"):
        catalogue.get(name)


@pytest.mark.parametrize("written", ["GRPO-pair", "Grpo_Pair", "grpo pair", "GRPOPair"])
def test_a_name_is_read_without_regard_to_case_and_hyphens(written):
    assert catalogue.get(written) is catalogue.get("grpo_pair")


def test_no_two_names_are_read_alike():
    assert len({catalogue.get(name.replace("_", "").upper()).name for name in catalogue.names()}) == len(
        catalogue.names()
    )


def test_a_name_like_none_gets_all_of_them():
    with pytest.raises(ValueError, match=r"nearest: reinforce, .*lpo_reverse"):
        catalogue.get("0123456789")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "grpo",
            {"clip": 0.2},
            "clip: 'grpo' has no such setting; it accepts: ddof, eps, ",
        ),
        ("rloo", {"eps": 1.0}, "eps: 'rloo' has no such setting; it accepts: none"),
        ("grpo", {"eps": -1.0}, "eps: -1.0; give a number that is not negative"),
        ("grpo", {"clip_low": 1.5}, "clip_low: 1.5; give 0 to 1"),
        ("dapo", {"clip_high": float("nan")}, "clip_high: nan; give a number that is not negative"),
        ("dpo", {"beta": 0.0}, "beta: 0.0; give a number above zero"),
        ("ppo", {"discount": 1.1}, "discount: 1.1; give 0 to 1"),
        ("ppo", {"dual": 0.5}, "dual: 0.5; give a cap above 1"),
        ("ppo", {"dual": 1.0}, "dual: 1.0; give a cap above 1"),
        ("grpo_pair", {"ddof": 2}, "ddof: 2; give 0"),
        ("reinforce_pp", {"over": "all"}, "over: 'all'; choose one of rollouts, tokens"),
        (
            "lpo_forward",
            {"temperature": "max"},
            "temperature: 'max'; give a number above",
        ),
        ("pass_at_k", {"k": 1}, "k: 1; give a whole number from 2 up"),
        ("pass_at_k_standardised", {"k": 0}, "k: 0; give a whole number from 1 up"),
        ("softmax", {"temperature": 0}, "temperature: 0; give a number above zero"),
    ],
)
def test_bad_settings_are_named(name, settings, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        catalogue.get(name, **settings)


def test_those_that_need_no_company_take_a_group_of_one():
    """A baseline that is given, tracked, greedy, a constant or of the batch needs no second rollout; all others do."""
    alone = {name: catalogue.get(name).min_group for name in WANTED if catalogue.get(name).min_group != 2}
    given = (
        "reinforce",
        "reinforce_best_constant",
        "remax",
        "reinforce_pp",
        "ppo",
        "ppo_dual_clip",
        "krpo",
        "spo",
    )
    assert alone == dict.fromkeys(given, 1)


def test_any_cap_above_one_is_taken():
    assert catalogue.get("ppo", dual=1.5).parts["surrogate"].keywords["cap"] == 1.5


@pytest.mark.parametrize("name", [n for n in WANTED if catalogue.get(n).needs])
def test_a_missing_field_is_named(name):
    estimator = catalogue.get(name)
    batch = Batch(np.ones((1, 2)), np.zeros((1, 2, 3)))
    with pytest.raises(
        ValueError, match=f"{estimator.needs[0]}: the batch has none and this estimator needs"
    ):
        estimator(batch.logp_old, batch)


def test_a_penalty_is_asked_for_only_when_it_is_on():
    assert catalogue.get("grpo").needs == ()
    assert catalogue.get("grpo", beta=0.04).needs == ("logp_ref",)
    assert "kl_direction" not in catalogue.get("grpo").laws
    assert catalogue.get("grpo", beta=0.04).laws["kl_direction"]


def test_every_file_of_estimators_is_in_the_catalogue():
    folder = Path(gradvar.estimators.__file__).parent
    shared = {"__init__", "building", "law_sets", "pairs"}
    files = {f.stem for f in folder.glob("*.py")} - shared
    assert files == {factory.__module__.rsplit(".", 1)[1] for factory in catalogue.ENTRIES.values()}


@pytest.mark.slow
def test_importing_an_estimator_changes_nothing():
    """No registration on import: the names are the same whatever was imported before."""
    code = "import gradvar.estimators.lpo; from gradvar import catalogue; print(len(catalogue.names()))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == len(WANTED)
