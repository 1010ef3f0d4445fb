"""The protocols of policies and tasks, as the engines use them."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree


@runtime_checkable
class Policy(Protocol):
    """What the engines ask of a policy. Prompts are a pytree or array with leading axis Q; completions are integer
    tokens [Q, G, T], padded after a stop token where the policy has one."""

    def init(self, key: PRNGKeyArray) -> PyTree:
        """Draw parameters to start from."""
        ...

    def logprobs(
        self, params: PyTree, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """Every token's log-probability (nats); values at masked positions are unspecified but finite."""
        ...

    def sample(
        self, params: PyTree, key: PRNGKeyArray, prompts: Array, group: int
    ) -> Int[Array, "prompt group time"]:
        """Draw ``group`` independent completions for every prompt.

        Args:
            params: The policy's parameters.
            key: A key for random numbers.
            prompts: Prompts, with leading axis Q.
            group: The number of completions for each prompt.
        """
        ...

    def greedy(self, params: PyTree, prompts: Array) -> Int[Array, "prompt 1 time"]:
        """The completion that takes the most likely token at every step."""
        ...

    def mask(self, completions: Int[Array, "*batch time"]) -> Bool[Array, "*batch time"]:
        """True up to and including the stop token; all true without one."""
        ...


@runtime_checkable
class FinitePolicy(Policy, Protocol):
    """A policy whose completions can be listed."""

    def support(self) -> Int[Array, "completion time"]:
        """Every completion once, the same list for every prompt."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """The engine that draws rollouts: the third policy of a batch, made from the policy and the trainer's parameters.

    ``params`` are everywhere those of the trainer's proximal policy; an engine that is stale leaves them out.
    """

    def sample(
        self, policy: Policy, params: PyTree, key: PRNGKeyArray, prompts: Array, group: int
    ) -> Int[Array, "prompt group time"]:
        """Draw ``group`` independent completions for every prompt.

        Args:
            policy: The policy that the engine serves.
            params: The trainer's parameters.
            key: A key for random numbers.
            prompts: Prompts, with leading axis Q.
            group: The number of completions for each prompt.
        """
        ...

    def logprobs(
        self, policy: Policy, params: PyTree, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """Every token's log-probability (nats), as the engine reports it.

        Args:
            policy: The policy that the engine serves.
            params: The trainer's parameters.
            prompts: Prompts, with leading axis Q.
            completions: Rollouts of each prompt.
        """
        ...

    def log_chances(
        self, policy: Policy, params: PyTree, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """Every token's log-probability (nats), as the engine draws it; -inf where it never does.

        Args:
            policy: The policy that the engine serves.
            params: The trainer's parameters.
            prompts: Prompts, with leading axis Q.
            completions: Rollouts of each prompt.
        """
        ...


@runtime_checkable
class Task(Protocol):
    """Prompts and verifiable rewards."""

    def prompts(self, key: PRNGKeyArray, num: int) -> Array:
        """``num`` prompts drawn independently from the task's distribution."""
        ...

    def reward(
        self, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group"]:
        """The reward of every completion; runs on the device."""
        ...


@runtime_checkable
class FiniteTask(Task, Protocol):
    """A task with a finite list of prompts, each equally likely."""

    def all_prompts(self) -> Array:
        """Every prompt, each of them once."""
        ...
