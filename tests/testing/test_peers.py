"""``gradvar peers`` on a small trainer of ours, planted as an installed package, and on trainers that are not there."""

import csv
import sys

import jax
import pytest

from gradvar.cli import main as cli
from gradvar.testing.peers import PEERS, load, peer_function
from gradvar.testing.peers.confirm import Confirmation
from gradvar.testing.peers.methods import branches
from gradvar.testing.peers.same_names import shared_names
from gradvar.testing.peers.survey import PeerRow
from tests.testing.planted_trainers import plant_tunix


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages; what is imported from it is forgotten at the end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("tunix", "no_such_package"):
            del sys.modules[name]


@pytest.fixture
def tunix(site):
    plant_tunix(site)
    return site


def test_a_function_of_a_trainer_by_name(tunix):
    function = peer_function("tunix", "drgrpo")
    assert list(map(float, function(jax.numpy.array([1.0, 0.0]), 2))) == [0.5, -0.5]
    with pytest.raises(ValueError, match="peers: tunix has no 'grpu'; it has drgrpo, of_the_batch, grpo"):
        peer_function("tunix", "grpu")
    with pytest.raises(ValueError, match="peers: 'nobody' is unknown"):
        peer_function("nobody", "grpo")


@pytest.mark.slow
def test_the_command_names_each_function_and_writes_the_table(tunix, tmp_path, capsys):
    files = {name: tmp_path / f"rosetta.{name}" for name in ("csv", "html", "markdown")}
    options = [part for name, file in files.items() for part in (f"--{name}", str(file))]
    with jax.enable_x64(False):
        assert cli.run(["peers", "tunix", "openrlhf", "slime", "--examples", "10", *options]) == 0
    shown = capsys.readouterr()
    assert "google-tunix 9.9.9" in shown.out
    assert "openrlhf: not installed; pip install openrlhf" in shown.err
    assert "slime: not on the registry" in shown.err
    assert "Traceback" not in shown.err
    rows = list(csv.DictReader(files["csv"].read_text().splitlines()))
    assert {row["name"] for row in rows} == {"drgrpo", "of_the_batch", "grpo"}
    named = {(row["kind"], row["name"], row["settings"]): row for row in rows}
    centred = named["advantage", "drgrpo", ""]
    assert centred["what it is"].startswith("Dr. GRPO")
    assert centred["equal"] == "yes"
    assert centred["its answer"] == centred["the oracle's answer"] != ""
    assert centred["place"].endswith("algo_core.py:15")
    batch = named["advantage", "of_the_batch", ""]
    assert not batch["what it is"]
    assert "zero_on_equal_rewards" in batch["laws that fail"] or "group_isolated" in (
        batch["laws that fail"] + batch["traits"]
    )
    loss = named["loss", "grpo", ""]
    assert "token ratio within 0.8 and 1.2, mean over all tokens" in loss["what it is"]
    assert loss["equal"] == "yes"
    page, html = files["markdown"].read_text(), files["html"].read_text()
    for text in ("google-tunix 9.9.9", "Same name, other thing", "not installed; pip install openrlhf"):
        assert text in page
        assert text in html
    assert "<script src" not in html


def test_trainers_that_cannot_be_surveyed_are_one_line_each(site, capsys):
    assert cli.run(["peers", "openrlhf", "prime-rl"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "gradvar peers: prime-rl: not on the registry; install it from PrimeIntellect-ai/prime-rl",
        "gradvar peers: openrlhf: not installed; pip install openrlhf",
    ]
    assert cli.run(["peers", "verlo"]) == 2
    assert "trainers: 'verlo' is unknown; give some of verl" in capsys.readouterr().err


def test_a_missing_import_is_said_and_replaced_only_on_request(site):
    plant_tunix(site, missing="no_such_package")
    refused = load(PEERS["tunix"])
    assert not refused.functions
    assert refused.reason == (
        "cannot be imported: ModuleNotFoundError: No module named 'no_such_package'; "
        "pip install no_such_package, or --stand-ins"
    )
    allowed = load(PEERS["tunix"], stand_ins=True)
    assert allowed.replaced == ("no_such_package",)
    assert len(allowed.functions) == 4
    assert "no_such_package" not in sys.modules  # the empty module is forgotten


def test_branches_of_a_setting():
    def method(self, kind):
        if self.loss_type == "cispo":
            return 1
        if self.loss_type in ["grpo", "dapo"]:
            return 2
        raise ValueError(f"unknown: {self.loss_type}")

    assert branches(method, "loss_type") == ["cispo", "grpo", "dapo"]


def test_names_that_mean_several_things():
    def row(trainer, name, answer, kind="loss"):
        return PeerRow(trainer, "1", kind, name, "", "", confirmation=Confirmation("input", answer))

    rows = [
        row("a", "cispo", "[1]"),
        row("b", "CISPOLoss", "[2]"),
        row("c", "cispo", "[1]"),
        row("a", "ppo", "[1]"),
    ]
    rows += [row("b", "vanilla", "[1]"), row("c", "cispo", "[7]", kind="advantage")]
    (shared,) = shared_names(rows)
    assert (shared.name, shared.kind, shared.given) == ("cispo", "loss", "input")
    assert {answer: [r.trainer for r in members] for answer, members in shared.answers.items()} == {
        "[1]": ["a", "c"],
        "[2]": ["b"],
    }
