"""``gradvar check TARGET``: which laws somebody's advantage function or loss obeys."""

import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gradvar.cli.results import check_shown, keyword_arguments, show
from gradvar.core.extras import missing
from gradvar.files.harmless import LONGEST, one_line
from gradvar.files.target import absolute_target, load_target


@dataclass(frozen=True)
class Check:
    """Find out which laws an advantage function or a policy-gradient loss obeys, with shrunk counterexamples.

    Two kinds of laws decide: those that every correct function obeys, and those that --claims, --laws or a setting
    name. The others describe the function. Exit code 0: all that decide are as they should be. 1: one is not. 2: bad
    usage.
    """

    target: Annotated[str, tyro.conf.Positional]
    """What to check: module:function, or path/to/file.py:function. NumPy, JAX or PyTorch."""
    claims: tuple[str, ...] = ()
    """Laws that should hold as well; no:NAME for one that should not, of which a counterexample is sought."""
    laws: tuple[str, ...] = ()
    """Run these laws only; they decide. Default: all of them."""
    excepting: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="except")] = ()
    """A law that does not decide for this function, with its reason: --except LAW --because REASON. May be
    repeated. Others are read from [tool.gradvar.except] of the nearest pyproject.toml."""
    because: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """The reason of the --except before it."""
    except_file: str | None = None
    """A file with a line for each law that does not decide: LAW: reason, or function LAW: reason."""
    is_: Annotated[str | None, tyro.conf.arg(name="is")] = None
    """The estimator that it is meant to be, such as grpo: then it must equal gradvar's definition."""
    setting: tuple[str, ...] = ()
    """Settings of that estimator, NAME=VALUE as in the catalogue, such as ddof=1 eps=1e-4."""
    signature: Literal[
        "auto", "group", "grouped", "flat", "prompt-ids", "num-generations", "token-level", "loss"
    ] = "auto"
    """How the function is called: f(rewards[G]), f(rewards[Q, G]), f(rewards[N], group_ids), f(rewards[N],
    prompt_ids), f(rewards[N], num_generations), f(token_rewards[N, T], mask, index), or a loss. Default:
    found by inspection."""
    library: Literal["auto", "numpy", "torch", "jax", "list"] = "auto"
    """The arrays that it is given. Default: what its code uses."""
    dtypes: tuple[str, ...] = ()
    """The floating dtypes of the rewards that it is meant for. Default: those usual in its library."""
    adapter: str = ""
    """Call the function as a trainer does: verl, trl, openrlhf, nemo-rl, skyrl, slime, tunix, torchrl or prime-rl.
    Its settings are given with --arguments."""
    domain: Literal["real", "nonnegative", "binary"] = "real"
    """The rewards that it is meant for."""
    min_group: int | None = None
    """The smallest group size that it is meant for; where 2 or more is given, groups of one do not occur and decide
    nothing. Default: 2, and a group of one is to get zero or a clear error."""
    epsilon: float = 1e-4
    """The epsilon added to the std, which scale invariance makes room for."""
    aggregation: Literal["auto", "token-mean", "sequence-mean", "sequence-sum"] = "auto"
    """For a loss: what it should be a mean over. Default: any that is known."""
    maximise: bool = False
    """For a loss: it is an objective to be maximised."""
    output: str = ""
    """The output that is the advantages or the loss, where the function returns several: its name or its place, 0,
    1, ... Default: found by trial, and said in a note."""
    shape: tuple[str, ...] = ()
    """The real shape of an argument, as PARAMETER=B,1 or PARAMETER=1,B. Default: one axis for rollouts, two for
    tokens."""
    arguments: str = "{}"
    """Further keyword arguments for the function, as JSON."""
    examples: int = 60
    """Examples per law."""
    seed: int | None = None
    """Try other examples. Default: the same in every run."""
    json: str | None = None
    """Write the report to this file, - for standard output (then no table is printed)."""


def run(config: Check) -> int:
    """Check, print the table or the JSON, and return the exit code."""
    try:
        check_shown(config.json, config.target)
        report = examine(config)
        show(report.table(), report.to_json(), config.json)
    except (ValueError, ImportError) as error:
        print(f"gradvar check: {one_line(' '.join(str(error).split()), LONGEST)}", file=sys.stderr)
        return 2
    return 0 if report.ok else 1


def examine(config: Check) -> Any:
    """The report on the target. Raises ``ValueError`` on bad usage, with one clear line."""
    if importlib.util.find_spec("hypothesis") is None:
        raise ValueError(missing("hypothesis"))
    from gradvar.testing.kinds import check_kind, kind_of
    from gradvar.testing.laws import ADVANTAGE, LOSS
    from gradvar.testing.runner import check_advantage, check_loss
    from gradvar.testing.signatures import inspect_signature

    if config.examples < 1:
        raise ValueError(f"--examples: {config.examples}; give 1 or more")
    if config.min_group is not None and config.min_group < 1:
        raise ValueError(f"--min-group: {config.min_group}; give 1 or more")
    if not config.epsilon >= 0:
        raise ValueError(f"--epsilon: {config.epsilon}; give 0 or more")
    arguments = keyword_arguments(config.arguments)
    function, origin = load_target(config.target), absolute_target(config.target)
    if config.adapter:
        from gradvar.testing.adapters import adapted, adapter_named

        function = adapted(adapter_named(config.adapter), function, **arguments)
        arguments = {}
    signature = None if config.signature == "auto" else config.signature
    further = kind_of(function, arguments) if signature is None else None
    if further is not None:
        if config.setting:
            raise ValueError("--setting: this kind of function has none; give --arguments for its parameters")
        return check_kind(
            function,
            kind=further,
            intended=form_of_kind(config.is_, further, function, arguments),
            claims=claims(config.claims),
            laws=config.laws,
            except_=excepted(config, function, further.laws),
            examples=config.examples,
            random_seed=config.seed,
            library_name=None if config.library == "auto" else config.library,
            arguments=arguments,
            origin=origin,
        )
    kind = signature or inspect_signature(function, None, arguments).kind
    common: dict[str, Any] = {
        "claims": claims(config.claims),
        "laws": config.laws,
        "except_": excepted(config, function, LOSS if kind == "loss" else ADVANTAGE),
        "is_": meant(config),
        "examples": config.examples,
        "random_seed": config.seed,
        "library_name": None if config.library == "auto" else config.library,
        "arguments": arguments,
        "origin": origin,
        "output": config.output,
        "shapes": shapes(config.shape),
    }
    if kind == "loss":
        name = origin.rpartition(":")[2].lower()
        sign = -1 if config.maximise or "objective" in name else 1
        return check_loss(function, sign=sign, aggregation=config.aggregation.replace("auto", ""), **common)
    return check_advantage(
        function,
        signature=signature,
        domain=config.domain,
        min_group=config.min_group or 2,
        epsilon=config.epsilon,
        dtypes=config.dtypes,
        **common,
    )


def meant(config: Check) -> Any:
    """The estimator of --is with its settings, or None."""
    if config.is_ is None:
        if config.setting:
            raise ValueError("--setting: it needs --is NAME, the estimator that has the settings")
        return None
    from gradvar.testing.matching.match import matches, parsed

    return matches(config.is_, **parsed(config.setting))


def form_of_kind(name: str | None, kind: Any, function: Any, arguments: dict[str, Any]) -> str:
    """The known form of --is for a further kind of function, or "".

    Args:
        name: The name given with --is, or None.
        kind: The function's kind.
        function: The function.
        arguments: Values of further parameters.
    """
    from gradvar.testing.kinds import form_names, kind_target

    if name is None:
        return ""
    known = form_names(kind, kind_target(function, kind, arguments=arguments))
    if name not in known:
        raise ValueError(f"--is: a function for {kind.name} is no '{name}'; it may be {', '.join(known)}")
    return name


def claims(texts: tuple[str, ...]) -> dict[str, bool]:
    """Law names to whether they should hold: NAME, or no:NAME."""
    for name in texts:
        if f"no:{name}" in texts:
            raise ValueError(f"--claims: '{name}' and 'no:{name}'; give one of them")
    return {name.removeprefix("no:"): not name.startswith("no:") for name in texts}


def shapes(texts: tuple[str, ...]) -> dict[str, str]:
    """Roles to shapes: rewards=B,1 gives {"rewards": "N1"}."""
    from gradvar.testing.roles import ROLES, role_of

    stated = {}
    for text in texts:
        name, _, axes = text.partition("=")
        letters = [axis.strip().upper() for axis in axes.strip("[]()").split(",")]
        role = role_of(name) or name
        if role not in ROLES:
            raise ValueError(
                f"--shape: '{name}' is no array that the kit knows; name a parameter, as rewards=B,1"
            )
        if not set(letters) <= {"B", "N", "T", "1"}:
            raise ValueError(f"--shape: '{text}' is not understood; give NAME=B,1 or NAME=1,B")
        stated[role] = "".join(letters).replace("B", "N")
    return stated


def excepted(config: Check, function: Any, laws: Iterable[Any]) -> dict[str, str]:
    """Laws that do not decide and the reason why: the project's, the file's, the command line's on top."""
    from gradvar.testing import exceptions

    place, _, name = config.target.rpartition(":")
    folder = Path(place).resolve().parent if place.endswith(".py") else _folder(function)
    shared = exceptions.of_project(folder, name)
    if config.except_file is not None:
        shared |= exceptions.of_file(Path(config.except_file), name)
    # a line for every function of a project is no mistake where the function is of the other kind
    known = {law.name for law in laws}
    if (config.min_group or 0) >= 2:
        shared = {"singleton_zero": f"groups of one do not occur (--min-group {config.min_group})"} | shared
    shared = {law: reason for law, reason in shared.items() if law in known}
    return shared | exceptions.paired(config.excepting, config.because)


def _folder(function: Any) -> Path:
    """The folder of the module that defines the function, or the current one."""
    module = sys.modules.get(getattr(function, "__module__", "") or "")
    file = getattr(module, "__file__", None)
    return Path(file).resolve().parent if file else Path.cwd()
