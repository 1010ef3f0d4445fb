"""Policies of a part of a transformer's parameters, the rest frozen: its last layers, or low-rank adapters.

A bank should measure what a trainer trains: tr Cov and signal are sums over parameters, and those of adapters or of
the last layers say little about those of all parameters. ``print(policy)``, and so a bank's record, says which part
it is.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gradvar.core.checks import between, whole
from gradvar.policies.autoregressive import Changed
from gradvar.policies.transformer.network import Params
from gradvar.policies.transformer.policy import Transformer

MATRICES = ("query", "key", "value", "output", "gate", "up", "down")


class PartialTransformer(eqx.Module):
    """A policy whose parameters are a part of a transformer's; made by ``last_layers`` and ``lora``.

    For measuring: the frozen arrays are leaves of it, so it cannot be a static argument, as training wants one.
    """

    transformer: Transformer = eqx.field(static=True)
    frozen: Params
    description: str = eqx.field(static=True)

    def merge(self, params: Params) -> Params:
        """All parameters, as the transformer takes them."""
        layers = self.frozen["layers"]
        first = next(iter(params))
        rest = layers | params if first not in layers else (layers, params) if len(layers[first]) else params
        return self.frozen | {"layers": rest}

    def merged(self, params: Params) -> Params:
        """All parameters with W + (alpha / rank) A B in the place of each W that has an adapter, and no adapters."""
        merged = self.merge(params)
        layers = merged["layers"]
        if not isinstance(layers, dict):  # the last layers beside the others: there are no adapters
            return merged
        names = [name.removesuffix("_in") for name in layers if name.endswith("_in")]
        plain = {key: x for key, x in layers.items() if not key.endswith(("_in", "_out"))}
        for name in names:
            product = layers[f"{name}_in"] @ layers[f"{name}_out"]  # [layer, in, out]
            plain[name] = plain[name] + self.transformer.config.adapter_scale * product
        return merged | {"layers": plain}

    def served(self, changed: Changed) -> "PartialTransformer":
        """The same, drawing from ``changed`` log-probabilities of the next token."""
        return PartialTransformer(self.transformer.served(changed), self.frozen, self.description)

    @property
    def causal(self) -> bool:
        """True: log-probabilities depend on nothing that comes later, as in the transformer."""
        return self.transformer.causal

    def init(self, key: PRNGKeyArray) -> Params:
        """Raise ``ValueError``: a part has no fresh parameters, it starts from its transformer's."""
        raise ValueError(
            "init: a part has no fresh parameters; use those that last_layers or lora gave with it"
        )

    def logprobs(
        self, params: Params, prompts: Int[Array, "prompt past"], completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """Every token's log-probability (nats) under the trained part and the frozen parameters."""
        return self.transformer.logprobs(self.merge(params), prompts, completions)

    def sample(
        self,
        params: Params,
        key: PRNGKeyArray,
        prompts: Int[Array, "prompt past"],
        group: int,
        *,
        first_prompt: int | Int[Array, ""] = 0,
        first_rollout: int | Int[Array, ""] = 0,
    ) -> Int[Array, "prompt group time"]:
        """Draw independent completions of every prompt.

        Args:
            params: The trained part.
            key: Of the draws.
            prompts: Prompts, [prompt, past].
            group: Completions of each prompt.
            first_prompt: Number of the first prompt in the whole batch, where these are a chunk of it.
            first_rollout: Number of the first rollout, where these are a chunk.
        """
        first = {"first_prompt": first_prompt, "first_rollout": first_rollout}
        return self.transformer.sample(self.merge(params), key, prompts, group, **first)

    def greedy(self, params: Params, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """The completion that takes the most likely token at every step."""
        return self.transformer.greedy(self.merge(params), prompts)

    def mask(self, completions: Int[Array, "*batch time"]) -> Bool[Array, "*batch time"]:
        """True up to and including the stop token."""
        return self.transformer.mask(completions)

    def __repr__(self) -> str:
        return f"PartialTransformer({self.description}, of {self.transformer!r})"


def last_layers(policy: Transformer, params: Params, layers: int) -> tuple[PartialTransformer, Params]:
    """The last ``layers`` blocks alone; embedding, head, last norm and the blocks before are frozen.

    Raises ``ValueError`` where there are not so many.
    """
    depth = policy.config.layers
    between("layers", whole("layers", layers, 1), 1, depth)
    part = jax.tree.map(lambda x: x[depth - layers :], params["layers"])
    frozen = params | {"layers": jax.tree.map(lambda x: x[: depth - layers], params["layers"])}
    description = f"last {layers} of {depth} layers, {_share(policy, params, part)}"
    return PartialTransformer(policy, frozen, description), part


def lora(
    policy: Transformer,
    params: Params,
    rank: int,
    key: PRNGKeyArray,
    *,
    targets: Sequence[str] = ("query", "value"),
    alpha: float | None = None,
) -> tuple[PartialTransformer, Params]:
    """Low-rank adapters alone: W x + (alpha / rank) B A x with all W frozen (LoRA, arXiv 2106.09685, Eq. 3).

    As there, A is drawn (variance 1/fan-in) and B is zero, so the policy starts as it was.

    Args:
        policy: A transformer.
        params: Its parameters, which stay as they are.
        rank: Of the adapters.
        key: Of A.
        targets: Among query, key, value, output, gate, up and down, in every layer.
        alpha: Scale of the adapters; None for twice the rank.

    Returns:
        The policy, and its parameters ``{target}_in`` [layer, in, rank] and ``{target}_out`` [layer, rank,
        out].

    Raises:
        ValueError: On a rank below 1, or targets that are unknown, doubled or none.
    """
    whole("rank", rank, 1)
    alpha = 2.0 * rank if alpha is None else alpha
    if not targets or len(set(targets)) != len(targets) or not set(targets) <= set(MATRICES):
        raise ValueError(f"targets: {tuple(targets)}; give some of {', '.join(MATRICES)}, each once")
    part = fresh_adapters(params, rank, key, targets)
    scaled = Transformer(replace(policy.config, adapter_scale=alpha / rank))
    what = f"adapters of rank {rank} on {', '.join(sorted(targets))}, {_share(policy, params, part)}"
    return PartialTransformer(scaled, params, what), part


def fresh_adapters(params: Params, rank: int, key: PRNGKeyArray, targets: Sequence[str]) -> Params:
    """The adapters that ``lora`` starts from: A drawn with variance 1/fan-in, B zero.

    Args:
        params: Parameters of a transformer.
        rank: Of the adapters.
        key: Of A.
        targets: Names of matrices, in every layer.
    """
    part: Params = {}
    for number, name in enumerate(sorted(targets)):
        depth, size, out = params["layers"][name].shape
        dtype = params["layers"][name].dtype
        drawn = jax.random.normal(jax.random.fold_in(key, number), (depth, size, rank), jnp.float32)
        part[f"{name}_in"] = (drawn / size**0.5).astype(dtype)
        part[f"{name}_out"] = jnp.zeros((depth, rank, out), dtype)
    return part


def _share(policy: Transformer, params: Params, part: Params) -> str:
    """How much of the whole it is, and of which whole: what is frozen is part of what a recording is."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    size = sum(x.size for x in jax.tree.leaves(part))
    return f"{size:,} parameters next to or among {policy.num_params():,} ({digest.hexdigest()[:12]})"
