"""Small trainers of ours, planted as installed packages: modules with registries, and the metadata that pip writes."""

from textwrap import dedent

TUNIX_REGISTRY = """
    class Registry:
        def __init__(self):
            self.known = {"policy_loss_fn": {}, "advantage_estimator": {}}

        def list_functions(self, category):
            return list(self.known[category])

        def get(self, category, name):
            return self.known[category][name]

    default_registry = Registry()
"""
TUNIX_CORE = """
    import jax.numpy as jnp
    import {missing}
    from tunix.rl.function_registry import default_registry as registry


    class nnx:
        split = None


    class common:
        pass


    def centred(rewards, num_generations):
        groups = jnp.asarray(rewards).reshape(-1, num_generations)
        return (groups - groups.mean(1, keepdims=True)).reshape(-1)


    def of_the_batch(rewards, num_generations):
        return rewards - rewards.mean()


    def loss(model, train_example, algo_config, pad_id, eos_id):
        nnx.split(model)
        logps, _ = common.compute_per_token_logps(None, None, return_logits=True)
        mask, advantages = train_example.completion_mask, train_example.advantages
        advantages = advantages if advantages.ndim == 2 else advantages[:, None]
        ratio = jnp.exp(jnp.where(mask > 0, logps - train_example.old_per_token_logps, 0.0))
        low, high = 1 - algo_config.epsilon, 1 + algo_config.epsilon
        gain = jnp.minimum(ratio * advantages, jnp.clip(ratio, low, high) * advantages)
        return -(gain * mask).sum() / jnp.maximum(mask.sum(), 1), {{}}


    registry.known["advantage_estimator"] |= {{"drgrpo": centred, "of_the_batch": of_the_batch}}
    registry.known["policy_loss_fn"]["grpo"] = loss
"""
VERL_CORE = """
    import torch

    ADV_ESTIMATOR_REGISTRY, POLICY_LOSS_REGISTRY = {}, {}


    def grpo(token_level_rewards, response_mask, index, norm_adv_by_std_in_grpo=True, config=None):
        scores = token_level_rewards.sum(-1)
        out = torch.zeros_like(scores)
        for label in set(index):
            rows = [row for row, other in enumerate(index) if other == label]
            group = scores[rows]
            spread = group.std() + 1e-6 if norm_adv_by_std_in_grpo and len(rows) > 1 else 1.0
            out[rows] = (group - group.mean()) / spread
        advantages = out.unsqueeze(-1) * response_mask
        return advantages, advantages


    def gae(token_level_rewards, values, response_mask, gamma, lam):
        raise RuntimeError("a fault of the trainer's")


    def cispo(old_log_prob, log_prob, advantages, response_mask, loss_agg_mode="", config=None):
        weight = torch.exp((log_prob - old_log_prob).masked_fill(response_mask == 0, 0.0))
        weight = weight.clamp(1 - config.clip_ratio_low, 1 + config.clip_ratio_high).detach()
        tokens = -weight * advantages * log_prob.masked_fill(response_mask == 0, 0.0) * response_mask
        return tokens.sum() / response_mask.sum().clamp(min=1), {}


    ADV_ESTIMATOR_REGISTRY |= {"grpo": grpo, "gae": gae}
    POLICY_LOSS_REGISTRY["cispo"] = cispo
"""


def plant(folder, package, modules, version="9.9.9"):
    """Write modules by dotted name, and the metadata by which Python finds the package's version."""
    for name, text in modules.items():
        *parents, last = name.split(".")
        place = folder
        for parent in parents:
            place = place / parent
            place.mkdir(parents=True, exist_ok=True)
            (place / "__init__.py").touch()
        (place / f"{last}.py").write_text(dedent(text))
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")


def plant_tunix(folder, missing="math"):
    core = dedent(TUNIX_CORE).format(missing=missing)
    plant(folder, "google-tunix", {"tunix.rl.function_registry": TUNIX_REGISTRY, "tunix.rl.algo_core": core})


def plant_verl(folder):
    plant(folder, "verl", {"verl.trainer.ppo.core_algos": VERL_CORE})
