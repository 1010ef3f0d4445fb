"""Samplers that change the distribution of the next token: temperature, top-k, top-p, min-p, and noise.

An engine draws from the changed distribution. What it reports is a setting of its own: ``renormalised`` reports the
log-probabilities of the distribution that it draws from, and without it those of the model before any change, which is
what an engine does that computes them from the raw logits. A correction by the ratio is right for the first only.

They serve policies over tokens (transformers, models given by their logits) by changing the logits of every step, and
policies whose completions can be listed: there the distribution after every prefix is read from the list.
"""

import abc
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.checks import between, finite, nonnegative, positive, whole
from gradvar.core.protocols import FinitePolicy, Policy
from gradvar.policies.sampler import draw, rollout_keys

LogProbs = Float[Array, "*state token"]


class TokenSampler(abc.ABC):
    """An engine that draws every token from ``changed`` log-probabilities."""

    renormalised: bool

    @abc.abstractmethod
    def changed(self, logp: LogProbs, noise: LogProbs) -> LogProbs:
        """The log-probabilities (nats) to draw from, -inf where never; ``noise`` is standard normal.

        A token that cannot come next has -inf in ``logp``.
        """

    def sample(
        self,
        policy: Policy,
        params: PyTree,
        key: PRNGKeyArray,
        prompts: Array,
        group: int,
        *,
        first_prompt: int | Int[Array, ""] = 0,
    ) -> Int[Array, "prompt group time"]:
        """Draw from the list of completions, by the chances of each.

        Args:
            policy: The policy that is served.
            params: The trainer's parameters.
            key: A key for random numbers.
            prompts: Prompts, with leading axis Q.
            group: The number of completions for each prompt.
            first_prompt: Number of the first prompt in the whole batch, where these are a chunk of it.
        """
        if (served := self._served(policy)) is not None:
            return served.sample(params, key, prompts, group, first_prompt=first_prompt)
        drawn, _, listing = self._listed(policy, params, prompts)
        chances = jnp.where(listing.mask, drawn, 0.0).sum(-1)  # [prompt, completion]
        keys = rollout_keys(key, chances.shape[0], group, first_prompt)
        pick = jax.vmap(jax.vmap(draw, in_axes=(0, None, None)), in_axes=(0, 0, None))(keys, chances, 0)
        return jnp.asarray(listing.support)[pick]

    def logprobs(
        self, policy: Policy, params: PyTree, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """Every token's log-probability (nats), as the engine reports it.

        Args:
            policy: The policy that is served.
            params: The trainer's parameters.
            prompts: Prompts, with leading axis Q.
            completions: Rollouts of each prompt.
        """
        if (served := self._served(policy)) is not None:
            return (served if self.renormalised else policy).logprobs(params, prompts, completions)
        _, reported, listing = self._listed(policy, params, prompts)
        return _look_up(reported, listing, completions)

    def log_chances(
        self, policy: Policy, params: PyTree, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """Every token's log-probability (nats), as the engine draws it; -inf where it never does.

        Args:
            policy: The policy that is served.
            params: The trainer's parameters.
            prompts: Prompts, with leading axis Q.
            completions: Rollouts of each prompt.
        """
        if (served := self._served(policy)) is not None:
            return served.logprobs(params, prompts, completions)
        drawn, _, listing = self._listed(policy, params, prompts)
        return _look_up(drawn, listing, completions)

    def _served(self, policy: Any) -> Any:
        """The policy with changed logits, where it has logits token by token; None where completions are listed."""
        return policy.served(self) if hasattr(policy, "served") else None

    def __call__(self, logp: LogProbs) -> LogProbs:
        """The log-probabilities to draw from; equal samplers are equal functions, and share what is compiled."""
        return self.changed(logp, jnp.zeros(()))

    def _listed(self, policy: Policy, params: PyTree, prompts: Array) -> tuple[Array, Array, "_Listing"]:
        """Of every listed completion: log-probabilities drawn from and reported, [prompt, completion, time]."""
        if not isinstance(policy, FinitePolicy):
            raise ValueError(
                f"sampler: {type(self).__name__} needs completions that can be listed and {type(policy).__name__} "
                "has no support(); give a Bandit or Tabular policy, or another sampler"
            )
        listing = _listing(policy)
        num_prompts = jax.tree.leaves(prompts)[0].shape[0]
        completions = jnp.broadcast_to(listing.support, (num_prompts, *listing.support.shape))
        plain = policy.logprobs(params, prompts, completions)  # [prompt, completion, time]
        # [prompt, completion, time, token]: after each prefix, from the completions that go on with each token
        after = plain[:, np.maximum(listing.row, 0), np.arange(plain.shape[-1])[:, None]]
        after = jnp.where(listing.row >= 0, after, -jnp.inf)
        noise = _noise(getattr(self, "seed", 0), prompts, listing).astype(plain.dtype)
        every = jax.nn.log_softmax(self.changed(after, noise), axis=-1)
        drawn = jnp.take_along_axis(every, listing.support[None, :, :, None], axis=-1)[..., 0]
        return drawn, drawn if self.renormalised else plain, listing


@dataclass(frozen=True)
class Temperature(TokenSampler):
    """Logits over ``value``: below 1 sharper than the trainer's policy, above 1 flatter."""

    value: float
    renormalised: bool = True

    def changed(self, logp: LogProbs, noise: LogProbs) -> LogProbs:
        """The log-probabilities over the temperature."""
        return logp / self.value


@dataclass(frozen=True)
class TopK(TokenSampler):
    """The ``number`` likeliest tokens, and all that tie with the last of them."""

    number: int
    renormalised: bool = True

    def changed(self, logp: LogProbs, noise: LogProbs) -> LogProbs:
        """Drop what is below the k-th largest."""
        size = min(self.number, logp.shape[-1])
        least = jnp.sort(logp, axis=-1)[..., -size][..., None]
        return jnp.where(logp >= least, logp, -jnp.inf)


@dataclass(frozen=True)
class TopP(TokenSampler):
    """The likeliest tokens whose chances add up to ``mass``: a token goes if it and all less likely have 1 - mass."""

    mass: float
    renormalised: bool = True

    def changed(self, logp: LogProbs, noise: LogProbs) -> LogProbs:
        """Drop the tail; the likeliest token always stays."""
        chances = jnp.exp(jax.nn.log_softmax(logp, axis=-1))
        order = jnp.argsort(chances, axis=-1)
        tail = jnp.cumsum(jnp.take_along_axis(chances, order, axis=-1), axis=-1)
        stays = (tail > 1 - self.mass).at[..., -1].set(True)
        return jnp.where(jnp.take_along_axis(stays, jnp.argsort(order, axis=-1), axis=-1), logp, -jnp.inf)


@dataclass(frozen=True)
class MinP(TokenSampler):
    """The tokens whose chance is at least ``share`` of the likeliest one's."""

    share: float
    renormalised: bool = True

    def changed(self, logp: LogProbs, noise: LogProbs) -> LogProbs:
        """Drop what is below the share."""
        least = jnp.max(logp, axis=-1, keepdims=True) + (np.log(self.share) if self.share else -jnp.inf)
        return jnp.where(logp >= least, logp, -jnp.inf)


@dataclass(frozen=True)
class Noise(TokenSampler):
    """Normal noise on every next-token log-probability, renormalised: another kernel's rounding, of a known size.

    Where completions are listed the noise is a function of prompt, prefix, token and ``seed``. On policies of tokens it
    is one of the step's own log-probabilities, token and ``seed``: the sum of 32 waves with fixed random phases, which
    turn over when log-probabilities change by a few hundredths of a nat. Either way the same rollout meets the same
    engine, whether it is drawn or looked up.
    """

    size: float
    seed: int = 0
    renormalised: bool = True

    def __call__(self, logp: LogProbs) -> LogProbs:
        """The log-probabilities with the waves' noise."""
        return self.changed(logp, _waves(self.seed, logp))

    def changed(self, logp: LogProbs, noise: LogProbs) -> LogProbs:
        """Add the noise, in nats."""
        return logp + self.size * noise


def temperature(value: float, *, renormalised: bool = True) -> Temperature:
    """Draw at a temperature that the trainer does not know of.

    >>> temperature(0.5).changed(jnp.log(jnp.array([0.25, 0.75])), 0.0).tolist() == (2 * jnp.log(
    ...     jnp.array([0.25, 0.75]))).tolist()
    True
    """
    return Temperature(positive("temperature", finite("temperature", value)), renormalised)


def top_k(number: int, *, renormalised: bool = True) -> TopK:
    """Draw from the k likeliest tokens.

    >>> jnp.isfinite(top_k(2).changed(jnp.log(jnp.array([0.5, 0.2, 0.3])), 0.0)).tolist()
    [True, False, True]
    """
    return TopK(whole("top_k", number, 1), renormalised)


def top_p(mass: float, *, renormalised: bool = True) -> TopP:
    """Draw from the nucleus: the likeliest tokens of this mass.

    >>> jnp.isfinite(top_p(0.75).changed(jnp.log(jnp.array([0.5, 0.2, 0.3])), 0.0)).tolist()
    [True, False, True]
    """
    return TopP(between("top_p", mass, 0, 1), renormalised)


def min_p(share: float, *, renormalised: bool = True) -> MinP:
    """Draw from the tokens that have this share of the likeliest one's chance.

    >>> jnp.isfinite(min_p(0.5).changed(jnp.log(jnp.array([0.5, 0.2, 0.3])), 0.0)).tolist()
    [True, False, True]
    """
    return MinP(between("min_p", share, 0, 1), renormalised)


def noise(size: float, *, seed: int = 0, renormalised: bool = True) -> Noise:
    """Draw from log-probabilities with normal noise of this size (nats).

    >>> noise(0.5).changed(jnp.array([-1.0, -2.0]), jnp.array([1.0, -1.0])).tolist()
    [-0.5, -2.5]
    """
    return Noise(nonnegative("noise", finite("noise", size)), seed, renormalised)


_WAVES = 32
_TURN = 30.0  # radians for each nat of root mean square change


def _waves(seed: int, logp: LogProbs) -> LogProbs:
    """Numbers close to standard normal, of token and state: sqrt(2/M) times the sum of M cosines.

    Each has a random phase for every token, and the angle of a random direction in the space of log-probabilities.
    """
    vocab = logp.shape[-1]
    phase_key, direction_key = jax.random.split(jax.random.key(seed))
    phases = jax.random.uniform(phase_key, (vocab, _WAVES), jnp.float32, 0.0, 2 * np.pi)
    directions = jax.random.normal(direction_key, (vocab, _WAVES), jnp.float32) * (_TURN / np.sqrt(vocab))
    finite_logp = jnp.where(jnp.isfinite(logp), logp, 0.0).astype(jnp.float32)
    # the mean goes first: it is large, says nothing, and its rounding would be that of the angles
    angles = (finite_logp - finite_logp.mean(-1, keepdims=True)) @ directions  # [*state, wave]
    # cos(angle + phase) summed over waves, as two products: no array [*state, token, wave]
    waves = jnp.cos(angles) @ jnp.cos(phases).T - jnp.sin(angles) @ jnp.sin(phases).T
    return (waves * np.sqrt(2 / _WAVES)).astype(logp.dtype)


class _Listing(NamedTuple):
    """Every completion of a policy, and how completions share their prefixes.

    ``row`` [completion, time, token]: a completion with the same tokens before that time and this token there, or -1.
    ``prefix`` [completion, time]: the first completion with the same tokens before that time.
    """

    support: Int[np.ndarray, "completion time"]
    mask: np.ndarray
    row: Int[np.ndarray, "completion time token"]
    prefix: Int[np.ndarray, "completion time"]


def _listing(policy: FinitePolicy) -> _Listing:
    with jax.ensure_compile_time_eval():
        support = np.asarray(policy.support())
        mask = np.asarray(policy.mask(jnp.asarray(support)))
    number, time = support.shape
    row = np.full((number, time, int(support.max()) + 1), -1)
    prefix = np.zeros((number, time), int)
    for t in range(time):
        _, group = np.unique(support[:, :t], axis=0, return_inverse=True) if t else (0, np.zeros(number, int))
        for members in (np.flatnonzero(group.ravel() == g) for g in range(int(group.max()) + 1)):
            prefix[members, t] = members[0]
            tokens, first = np.unique(support[members, t], return_index=True)
            row[members[:, None], t, tokens] = members[first]
    return _Listing(support, mask, row, prefix)


def _look_up(listed: Array, listing: _Listing, completions: Array) -> Float[Array, "prompt group time"]:
    """Of completions, what is listed, [prompt, completion, time]."""
    pick = jnp.argmax((completions[:, :, None] == listing.support).all(-1), axis=-1)  # [prompt, group]
    return jnp.take_along_axis(listed, pick[..., None], axis=1)


def _noise(seed: int, prompts: Any, listing: _Listing) -> Float[Array, "prompt completion time token"]:
    """Standard normal numbers of prompt, prefix and token: the same in every precision and however prompts come."""
    flat = jnp.concatenate([jnp.reshape(x, (x.shape[0], -1)) for x in jax.tree.leaves(prompts)], axis=1)

    def of_prompt(numbers: Array) -> Array:
        key = jax.random.key(seed)
        for place in range(flat.shape[1]):
            key = jax.random.fold_in(key, numbers[place].astype(jnp.uint32))
        return jax.random.normal(key, listing.row.shape, jnp.float32)

    drawn = jax.vmap(of_prompt)(flat)  # [prompt, completion, time, token]
    return drawn[:, listing.prefix, np.arange(listing.row.shape[1])]
