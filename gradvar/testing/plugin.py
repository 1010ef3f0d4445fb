"""The pytest plugin, registered by installing the package: two options and a summary of the laws that failed.

It is loaded in every pytest run of everyone who has gradvar installed, so it imports nothing until it is
used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--gradvar-seed N`` draws other examples; ``--gradvar-examples N`` draws more or fewer."""
    group = parser.getgroup("gradvar", "laws of advantages and losses")
    group.addoption(
        "--gradvar-seed", type=int, default=None, help="try other examples for the laws (default: the same)"
    )
    group.addoption("--gradvar-examples", type=int, default=None, help="examples per law")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hand the options to the law cases that were collected."""
    seed, examples = config.getoption("--gradvar-seed"), config.getoption("--gradvar-examples")
    if seed is None and examples is None:
        return
    for item in items:
        case = _case(item)
        if case is not None:
            options = {"random_seed": seed} if seed is not None else {}
            options |= {"examples": examples} if examples is not None else {}
            case.options.update(options)


def pytest_runtest_makereport(item: pytest.Item, call: Any) -> None:
    """Note the law on the item, for reports that show properties (JUnit XML)."""
    if call.when == "setup":
        case = _case(item)
        if case is not None:
            item.user_properties.append(("law", case.name))


def _case(item: pytest.Item) -> Any:
    case = getattr(getattr(item, "callspec", None), "params", {}).get("law")
    return case if type(case).__name__ == "LawCase" else None
