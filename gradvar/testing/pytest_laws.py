"""One test per law, for somebody's own test suite: ``@advantage_laws(f)`` and ``@loss_laws(f)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradvar.testing.laws import ADVANTAGE, LOSS, Law
from gradvar.testing.recognise import advantage_target, loss_target
from gradvar.testing.runner import EXAMPLES, Target, check_law
from gradvar.testing.targets import AdvantageTarget, LossTarget
from gradvar.testing.verdicts import FAILS, OUT, LawResult


@dataclass(frozen=True, repr=False)
class LawCase:
    """One law for one function; call it to test it.

    The function's signature is inspected at the first call, not at import.
    """

    law: Law
    target: Callable[[], Target]
    declared: bool | None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the law, one of ``names.LAWS``."""
        return self.law.name

    def __repr__(self) -> str:
        declared = "" if self.declared is None else f", declared {str(self.declared).lower()}"
        return f"<law {self.name}{declared}: {self.law.statement}>"

    def result(self) -> LawResult:
        """The verdict as data."""
        return check_law(self.law, self.target(), self.declared, **self.options)

    def __call__(self) -> None:
        """Test the law; skip it where it does not apply.

        Raises:
            AssertionError: The law is not as declared, or fails where nothing is declared.
        """
        __tracebackhide__ = True
        result = self.result()
        if result.status == OUT:
            import pytest

            pytest.skip(result.why)
        wanted = True if self.declared is None else self.declared
        if result.status == FAILS and wanted:
            raise AssertionError(
                f"{self.law.name}: {self.law.statement}\n{result.why}\n{result.reproduce}".rstrip()
            )
        if result.status != FAILS and not wanted:
            raise AssertionError(
                f"{self.law.name} was declared false, and no example breaks it: declare it true"
            )


def advantage_laws(
    function: Callable[..., Any],
    *,
    claims: Mapping[str, bool] | None = None,
    laws: Iterable[str] = (),
    examples: int = EXAMPLES,
    seed: int | None = None,
    **settings: Any,
) -> Any:
    """Return a ``pytest.mark.parametrize`` over ``law``: the universal laws and those in ``claims``.

    Args:
        function: The advantage function, or its target.
        claims: Maps laws to True where they should hold, False where they should fail.
        laws: Test only these, and those in ``claims``.
        examples: Examples per law.
        seed: Draws other examples; default: the same in every run.
        settings: Further settings of ``advantage_target``: signature, library_name, arguments, domain,
            min_group, epsilon.

    Raises:
        ValueError: A law's name is unknown.
    """
    return _parametrised(
        advantage_target, AdvantageTarget, ADVANTAGE, function, claims, laws, examples, seed, settings
    )


def loss_laws(
    function: Callable[..., Any],
    *,
    claims: Mapping[str, bool] | None = None,
    laws: Iterable[str] = (),
    examples: int = EXAMPLES,
    seed: int | None = None,
    **settings: Any,
) -> Any:
    """Return a ``pytest.mark.parametrize`` over ``law`` for a policy-gradient loss.

    Args:
        function: The loss, or its target.
        claims: Maps laws to True where they should hold, False where they should fail.
        laws: Test only these, and those in ``claims``.
        examples: Examples per law.
        seed: Draws other examples; default: the same in every run.
        settings: Further settings of ``loss_target``: library_name, arguments, sign, aggregation.

    Raises:
        ValueError: A law's name is unknown.
    """
    return _parametrised(loss_target, LossTarget, LOSS, function, claims, laws, examples, seed, settings)


def _parametrised(
    make: Callable[..., Target],
    kind: type[Target],
    catalogue: Sequence[Law],
    function: Any,
    claims: Mapping[str, bool] | None,
    laws: Iterable[str],
    examples: int,
    seed: int | None,
    settings: Mapping[str, Any],
) -> Any:
    import pytest

    claims, chosen = dict(claims or {}), set(laws)
    unknown = sorted((set(claims) | chosen) - {law.name for law in catalogue})
    if unknown:
        raise ValueError(f"law: '{unknown[0]}' is unknown; one of {', '.join(law.name for law in catalogue)}")
    targets: list[Target] = []

    def target() -> Target:
        if not targets:
            new_target = function if isinstance(function, kind) else make(function, **settings)
            new_target.origin = new_target.origin or _origin(function)
            targets.append(new_target)
        return targets[0]

    options = {"examples": examples, "random_seed": seed}
    wanted = [
        law for law in catalogue if (law.name in chosen if chosen else law.universal) or law.name in claims
    ]
    cases = [LawCase(law, target, claims.get(law.name), options) for law in wanted]
    return pytest.mark.parametrize("law", cases, ids=[case.name for case in cases])


def _origin(function: Any) -> str:
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    return f"{module}:{name}" if module and name and "<" not in name else ""
