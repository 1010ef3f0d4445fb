"""Parts of given rollouts that processes record on their own are the bank of one call, in whatever order they end."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gradvar.gradients.sketch import Gram, Sketch  # noqa: E402
from gradvar.measure.bank.recorder import ShardPart  # noqa: E402
from gradvar.torch import TorchSettings, as_rollouts, record  # noqa: E402

from . import models  # noqa: E402


def test_parts_are_the_bank_of_one_call(tmp_path):
    rng = np.random.default_rng(0)
    lists = [[rng.integers(0, 7, rng.integers(1, 4)).tolist() for _ in range(4)] for _ in range(3)]
    rollouts = as_rollouts(rng.integers(0, 7, (3, 2)), lists)
    rewards = rng.random((3, 4)).round(1)
    fields = {"logp_sampler": [[(-rng.random(len(x))).tolist() for x in rows] for rows in lists]}
    model = models.Llama().float()

    def made(number=None, of=2, rewards=rewards, **more):
        settings = TorchSettings(seed=3)
        if number is not None:
            settings = TorchSettings(seed=3, folder=tmp_path / "bank", part=ShardPart(number, of))
        return record(
            model, rollouts, rewards, fields, settings=settings, **{"scores": Sketch("hashed", 16)} | more
        )

    alone = made().recording
    assert made(2).info["shards"] == {"there": 1, "of": 2}
    both = made(1).recording
    assert both.info["shards"] == {"there": 2, "of": 2}
    np.testing.assert_allclose(both.scores.vectors, alone.scores.vectors, atol=1e-6)
    for name, array in alone.rollouts.arrays().items():
        np.testing.assert_allclose(getattr(both.rollouts, name), array, atol=1e-6)
    (tmp_path / "bank" / "shard-00001" / "scores.safetensors").write_bytes(b"x")
    with pytest.warns(UserWarning, match="this part is recorded again"):
        assert made(2).info["shards"]["there"] == 2
    with pytest.raises(ValueError, match="part: 4 of 4 for 3 prompts; give 3 parts at most"):
        made(4, 4)
    with pytest.raises(ValueError, match="Gram across parts"):
        made(1, scores=Gram())
    with pytest.raises(ValueError, match="bank"):
        made(1, rewards=1 - rewards)
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1
    with pytest.raises(ValueError, match="bank"):
        made(1)
