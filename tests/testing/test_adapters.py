"""The adapter of tunix on small functions of ours in its signatures, and what all adapters share."""

import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from gradvar.testing import check_advantage, check_loss
from gradvar.testing.adapters import ADAPTERS, TrainerConfig, adapted, adapter_named
from gradvar.testing.adapters.base import config_of, parameter_of
from gradvar.testing.roles import ROLES, role_of

EXAMPLES = 10


class nnx:
    @staticmethod
    def split(model):
        raise AssertionError("the model is the kit's")


common = SimpleNamespace(aggregate=lambda x, mask: (x * mask).sum() / jnp.maximum(mask.sum(), 1))


def loss_fn(model, train_example, algo_config, pad_id, eos_id, **kwargs):
    state, rest = nnx.split(model)
    logps, _ = common.compute_per_token_logps(state, rest, prompt_tokens=None, return_logits=True)
    mask, advantages = train_example.completion_mask, train_example.advantages
    advantages = advantages if advantages.ndim == 2 else advantages[:, None]
    ratio = jnp.exp(jnp.where(mask > 0, logps - train_example.old_per_token_logps, 0.0))
    epsilon = algo_config.epsilon
    gain = jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - epsilon, 1 + epsilon) * advantages)
    rows = (gain * mask).sum(-1) / jnp.maximum(mask.sum(-1), 1)
    return -rows.mean(), {"kl": common.aggregate(gain, mask)}


def loss_without_old(model, train_example, algo_config, pad_id, eos_id):
    logps = common.compute_per_token_logps(model, return_logits=False)
    return -(logps * train_example.advantages.reshape(len(logps), -1)[:, :1]).mean(), {}


def advantages(rewards, num_generations):
    groups = jnp.asarray(rewards).reshape(-1, num_generations)
    sound = jnp.isfinite(groups).all(1, keepdims=True)
    return jnp.where(sound, groups - groups.mean(1, keepdims=True), 0.0).reshape(-1)


@pytest.mark.slow
def test_tunix():
    adapter = adapter_named("tunix")
    with jax.enable_x64(True):
        report = check_loss(adapted(adapter, loss_fn), examples=EXAMPLES, library_name="jax")
        assert report.ok, report.table()
        assert nnx.split.__name__ == "split"  # the module is as it was
        assert not hasattr(common, "compute_per_token_logps")
        broken = check_loss(adapted(adapter, loss_without_old), examples=EXAMPLES, library_name="jax")
        assert not broken.ok
        flat = check_advantage(adapted(adapter, advantages), examples=EXAMPLES, library_name="jax")
        assert flat.ok, flat.table()


@pytest.mark.parametrize("role", ROLES)
def test_a_parameter_of_a_role_is_read_as_that_role(role):
    if ROLES[role].names or "logp" in role:
        assert role_of(parameter_of(role)) == role


def test_a_config_answers_by_attribute_key_and_get():
    config = config_of(loss_fn, "NoSuchClass", {"clip": 0.2, "inner": {"a": 1, "b": 2}}, {"inner": {"b": 3}})
    assert config.clip == config["clip"] == config.get("clip") == 0.2
    assert (config.inner.a, config.inner.b) == (1, 3)
    with pytest.raises(AttributeError, match="config has no 'tau'; give it with --arguments"):
        _ = config.tau
    assert isinstance(config, TrainerConfig)


def test_adapters_import_neither_torch_nor_jax_nor_a_trainer():
    code = (
        "import sys; import gradvar.testing.adapters as a; "
        f"print(sorted({{'torch', 'jax', 'verl', 'trl'}} & set(sys.modules)), len(a.ADAPTERS) == {len(ADAPTERS)})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["[]", "True"]
