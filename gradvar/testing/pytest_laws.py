"""One test per law, for somebody's own test suite: ``@advantage_laws(f)`` and ``@loss_laws(f)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradvar.testing.laws import ADVANTAGE, LOSS, Law
from gradvar.testing.losses import LossTarget
from gradvar.testing.names import ORACLE_LAWS
from gradvar.testing.recognise import advantage_target, loss_target
from gradvar.testing.runner import EXAMPLES, Target, check_law
from gradvar.testing.targets import AdvantageTarget
from gradvar.testing.verdicts import FAILS, OUT, LawResult


@dataclass(frozen=True, repr=False)
class LawCase:
    """One law for one function; call it to test it.

    The function's signature is inspected at the first call, not at import.
    """

    law: Law
    target: Callable[[], Target]
    declared: bool | None
    excepted: str = ""
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
        if self.excepted:
            self._excepted(result)
            return
        wanted = True if self.declared is None else self.declared
        if result.status == FAILS and wanted:
            raise AssertionError(
                f"{self.law.name}: {self.law.statement}\n{result.why}\n{result.reproduce}".rstrip()
            )
        if result.status != FAILS and not wanted:
            raise AssertionError(
                f"{self.law.name} was declared false, and no example breaks it: declare it true"
            )

    def _excepted(self, result: LawResult) -> None:
        """Mark the test as failing for a reason, or warn that the reason is no longer needed."""
        import warnings

        import pytest

        if result.status == FAILS or not result.as_declared:
            pytest.xfail(f"excepted: {self.excepted}")
        warnings.warn(
            f"{self.name}: excepted ({self.excepted}), and it holds: no longer needed", stacklevel=3
        )


def advantage_laws(
    function: Callable[..., Any],
    *,
    claims: Mapping[str, bool] | None = None,
    laws: Iterable[str] = (),
    except_: Mapping[str, str] | None = None,
    is_: Any = None,
    examples: int = EXAMPLES,
    seed: int | None = None,
    **settings: Any,
) -> Any:
    """Return a ``pytest.mark.parametrize`` over ``law``: the universal laws and those in ``claims``.

    Args:
        function: The advantage function, or its target.
        claims: Maps laws to True where they should hold, False where they should fail.
        laws: Test only these, and those in ``claims``.
        except_: Maps laws that may fail to the reason why; they are expected failures.
        is_: The estimator that it should be: ``matches("grpo", ddof=1)``.
        examples: Examples per law.
        seed: Draws other examples; default: the same in every run.
        settings: Further settings of ``advantage_target``: signature, library_name, arguments, domain,
            min_group, epsilon.

    Raises:
        ValueError: A law's name is unknown.
    """
    chosen = _Chosen(dict(claims or {}), frozenset(laws), dict(except_ or {}))
    options = {"examples": examples, "random_seed": seed}
    catalogue = ADVANTAGE if is_ is None else (is_.law(loss=False), *ADVANTAGE)
    return _parametrised(advantage_target, AdvantageTarget, catalogue, function, chosen, options, settings)


def loss_laws(
    function: Callable[..., Any],
    *,
    claims: Mapping[str, bool] | None = None,
    laws: Iterable[str] = (),
    except_: Mapping[str, str] | None = None,
    is_: Any = None,
    examples: int = EXAMPLES,
    seed: int | None = None,
    **settings: Any,
) -> Any:
    """Return a ``pytest.mark.parametrize`` over ``law`` for a policy-gradient loss.

    Args:
        function: The loss, or its target.
        claims: Maps laws to True where they should hold, False where they should fail.
        laws: Test only these, and those in ``claims``.
        except_: Maps laws that may fail to the reason why; they are expected failures.
        is_: The estimator that it should be: ``matches("grpo", ddof=1)``.
        examples: Examples per law.
        seed: Draws other examples; default: the same in every run.
        settings: Further settings of ``loss_target``: library_name, arguments, sign, aggregation.

    Raises:
        ValueError: A law's name is unknown.
    """
    chosen = _Chosen(dict(claims or {}), frozenset(laws), dict(except_ or {}))
    options = {"examples": examples, "random_seed": seed}
    catalogue = LOSS if is_ is None else (is_.law(loss=True), *LOSS)
    return _parametrised(loss_target, LossTarget, catalogue, function, chosen, options, settings)


@dataclass(frozen=True)
class _Chosen:
    """Which laws are tested, and what is expected of them."""

    claims: Mapping[str, bool]
    laws: frozenset[str]
    excepted: Mapping[str, str]

    def __contains__(self, law: Law) -> bool:
        picked = law.name in ORACLE_LAWS or (law.name in self.laws if self.laws else law.universal)
        return picked or law.name in self.claims or (law.name in self.excepted and not self.laws)


def _parametrised(
    make: Callable[..., Target],
    kind: type[Target],
    catalogue: Sequence[Law],
    function: Any,
    chosen: _Chosen,
    options: dict[str, Any],
    settings: Mapping[str, Any],
) -> Any:
    import pytest

    names = {law.name for law in catalogue}
    unknown = sorted({*chosen.claims, *chosen.laws, *chosen.excepted} - names)
    if unknown:
        raise ValueError(f"law: '{unknown[0]}' is unknown; one of {', '.join(law.name for law in catalogue)}")
    targets: list[Target] = []

    def target() -> Target:
        if not targets:
            new_target = function if isinstance(function, kind) else make(function, **settings)
            new_target.origin = new_target.origin or _origin(function)
            targets.append(new_target)
        return targets[0]

    cases = [
        LawCase(law, target, chosen.claims.get(law.name), chosen.excepted.get(law.name, ""), options)
        for law in catalogue
        if law in chosen
    ]
    return pytest.mark.parametrize("law", cases, ids=[case.name for case in cases])


def _origin(function: Any) -> str:
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    return f"{module}:{name}" if module and name and "<" not in name else ""
