"""``gradvar peers`` on a small PyTorch trainer, planted as an installed package, and on real ones where installed."""

import sys

import pytest

torch = pytest.importorskip("torch")

from gradvar.testing.peers import PEERS, load, survey  # noqa: E402
from tests.testing.planted_trainers import plant_verl  # noqa: E402


@pytest.fixture
def verl(tmp_path, monkeypatch):
    if "verl" in sys.modules:
        pytest.skip("the real one has been imported")
    monkeypatch.syspath_prepend(str(tmp_path))
    plant_verl(tmp_path)
    yield load(PEERS["verl"])
    for name in [name for name in sys.modules if name.split(".")[0] == "verl"]:
        del sys.modules[name]


def test_registries_are_walked_and_a_fault_of_the_trainer_is_a_remark(verl):
    assert (verl.version, verl.reason) == ("9.9.9", "")
    rows = {(row.name, row.settings): row for row in survey(verl, examples=5)}
    assert rows["grpo", ""].identity.startswith("GRPO, sample std, epsilon 1e-06 added")
    assert rows["grpo", "norm_adv_by_std_in_grpo=False"].identity.startswith("Dr. GRPO")
    assert rows["cispo", ""].identity == "CISPO, weight within 0.8 and 1.2, mean over all tokens"
    assert rows["grpo", ""].confirmation.equal
    gae = rows["gae", ""]
    assert not gae.identity
    assert "a fault of the trainer's" in gae.note


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "name", "identity"),
    [
        ("verl", "rloo", "RLOO"),
        ("trl", "grpo", "GRPO, token ratio within 0.8 and 1.2"),
        ("torchrl", "MCAdvantage", "GRPO, sample std, epsilon 1e-06 as a lower bound"),
        ("tunix", "drgrpo", "Dr. GRPO"),
        ("liger", "bnpo", "PPO, token ratio within 0.8 and 1.2, mean over all tokens"),
        ("skyrl", "maxrl", "MaxRL"),
    ],
)
def test_a_real_trainer(trainer, name, identity):
    loaded = load(PEERS[trainer])
    if loaded.reason:
        pytest.skip(f"{trainer}: {loaded.reason}")
    (first, *_) = [row for row in survey(loaded, examples=0) if row.name == name]
    assert first.identity.startswith(identity)
    assert first.confirmation.equal
