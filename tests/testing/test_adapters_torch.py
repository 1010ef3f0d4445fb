"""The adapters on small functions of ours in the signatures of the trainers: sound ones pass, faults are seen."""

import json

import pytest

torch = pytest.importorskip("torch")

from gradvar.cli import main as cli  # noqa: E402
from gradvar.testing import SignatureError, check_advantage, check_loss  # noqa: E402
from gradvar.testing.adapters import ADAPTERS, adapted, adapter_named  # noqa: E402
from gradvar.testing.adapters.skyrl import reduced  # noqa: E402
from gradvar.testing.adapters.trl import CompletionModel  # noqa: E402
from tests.testing import trainer_forms as forms  # noqa: E402

EXAMPLES = 8
ADVANTAGES = [  # trainer, sound, with a fault, the law that sees it
    ("verl", forms.verl_advantage, forms.verl_advantage_of_the_batch, "group_isolated"),
    ("trl", forms.trl_advantage, forms.trl_advantage_of_the_batch, "group_isolated"),
    ("trl", forms.trl_advantage_of_functions, forms.trl_advantage_of_the_batch, "group_isolated"),
    (
        "openrlhf",
        forms.OpenRlhfMaker.compute_advantages_and_returns,
        forms.OpenRlhfMakerOfSums.compute_advantages_and_returns,
        "zero_on_equal_rewards",
    ),
    ("nemo-rl", forms.NemoEstimator, forms.NemoEstimatorOfTheBatch, "group_isolated"),
    ("skyrl", forms.skyrl_advantage, forms.skyrl_advantage_of_the_batch, "group_isolated"),
    ("slime", forms.slime_rewards, forms.slime_rewards_of_the_batch, "group_isolated"),
]
LOSSES = [
    ("verl", forms.verl_loss, forms.verl_loss_swapped, "zero_beyond_clip"),
    (
        "trl",
        forms.TrlTrainer._compute_loss,
        forms.TrlTrainerUnclipped._compute_loss,
        "zero_beyond_clip",
    ),
    ("trl", forms.trl_loss, forms.trl_loss_of_padding, "masked_inert"),
    ("openrlhf", forms.OpenRlhfLoss, forms.OpenRlhfLossOfSums, "both_signs"),
    ("nemo-rl", forms.NemoLoss, forms.NemoLossShifted, "aggregation"),
    ("skyrl", forms.skyrl_loss, forms.skyrl_loss_averaged, "masked_inert"),
    ("slime", forms.slime_loss, forms.slime_loss_other_way, "zero_beyond_clip"),
    ("torchrl", forms.TorchrlLoss, forms.TorchrlLossOnPolicyOnly, "on_policy_unclipped"),
    ("prime-rl", forms.prime_loss, forms.prime_loss_of_the_gap, "both_signs"),
]


def failing(report):
    return {result.name for result in report.results if result.status == "fails"}


@pytest.mark.parametrize(("trainer", "sound", "faulty", "law"), ADVANTAGES)
def test_advantages(trainer, sound, faulty, law):
    adapter = adapter_named(trainer)
    report = check_advantage(adapted(adapter, sound), examples=EXAMPLES, library_name="torch")
    assert report.ok, report.table()
    broken = check_advantage(adapted(adapter, faulty), examples=EXAMPLES, library_name="torch")
    assert law in failing(broken), broken.table()


@pytest.mark.parametrize(("trainer", "sound", "faulty", "law"), LOSSES)
def test_losses(trainer, sound, faulty, law):
    adapter = adapter_named(trainer)
    report = check_loss(adapted(adapter, sound), examples=EXAMPLES, library_name="torch")
    assert report.ok, report.table()
    assert law not in failing(report)
    broken = check_loss(adapted(adapter, faulty), examples=EXAMPLES, library_name="torch")
    assert law in failing(broken), broken.table()


def test_every_trainer_has_a_test():
    tested = {case[0] for case in (*ADVANTAGES, *LOSSES)}
    assert set(ADAPTERS) == tested | {"tunix"}  # tunix: JAX, in test_adapters.py


def test_the_reference_is_asked_for_only_with_a_kl_term():
    adapter = adapter_named("trl")
    plain = adapted(adapter, forms.TrlTrainer._compute_loss)
    kl = adapted(adapter, forms.TrlTrainer._compute_loss, beta=0.1)
    assert "ref_logp" not in plain.__signature__.parameters
    assert "ref_logp" in kl.__signature__.parameters
    report = check_loss(kl, examples=EXAMPLES, library_name="torch")
    assert report["kl_direction"].status == "holds"


def test_settings_reach_the_config():
    wide = adapted(adapter_named("verl"), forms.verl_loss, clip_ratio_high=0.9)
    logp, old = torch.full((1, 1), -0.5), torch.full((1, 1), -1.0)
    ones = torch.ones(1, 1)
    value = wide(logp=logp, old_logp=old, advantages=ones, mask=ones)
    assert float(value) == pytest.approx(-float(torch.exp(torch.tensor(0.5))))
    narrow = adapted(adapter_named("verl"), forms.verl_loss)
    assert float(narrow(logp=logp, old_logp=old, advantages=ones, mask=ones)) == pytest.approx(-1.2)


def test_a_function_of_no_known_form_is_one_line():
    with pytest.raises(SignatureError, match=r"adapter: centred\(rewards, labels\) is no form of verl"):
        adapted(adapter_named("verl"), forms.centred)


def test_the_command_line(capsys, tmp_path):
    target = f"{forms.__name__}:verl_loss"
    assert cli.run(["check", target, "--adapter", "verl", "--examples", "10"]) == 0
    out = tmp_path / "report.json"
    arguments = ["check", f"{forms.__name__}:skyrl_loss_averaged", "--adapter", "skyrl", "--examples", "10"]
    assert cli.run([*arguments, "--json", str(out)]) == 1
    laws = {law["name"]: law for law in json.loads(out.read_text())["laws"]}
    assert "--adapter skyrl" in laws["masked_inert"]["example"]["reproduce"]
    assert cli.run(["check", target, "--adapter", "nobody"]) == 2
    assert "adapter: 'nobody' is unknown; give one of verl" in capsys.readouterr().err


def test_a_rollout_without_tokens_is_divided_by_one():
    mask = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    for reduction, weights in (
        ("token_mean", (0.5, 0.5)),
        ("sequence_mean", (0.25, 0.5)),
        ("seq_mean_token_sum_norm", (1 / 6, 1 / 6)),
    ):
        weighted = reduced(torch.ones(2, 3), mask, reduction)
        assert weighted[:, 0].tolist() == pytest.approx(weights)


def test_a_model_of_two_words_has_the_log_probabilities_that_it_is_given():
    logp = torch.tensor([[-0.1, -2.0], [-1e-3, -30.0]], dtype=torch.float64)
    logits = CompletionModel(logp)().logits
    assert logits.shape == (2, 3, 2)
    torch.testing.assert_close(torch.log_softmax(logits, -1)[:, :2, 0], logp)
