"""The examples in the pieces' docstrings: there is one for every piece, and each runs and gives what it says."""

import doctest
import importlib
import inspect

import jax.numpy as jnp
import pytest

MODULES = (
    "advantage",
    "advantage_adaptive",
    "aggregate",
    "correction",
    "correction_reject",
    "penalty",
    "select",
    "surrogate",
    "surrogate_trust",
)


def pieces(name):
    module = importlib.import_module(f"gradvar.pieces.{name}")
    for function, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__ and function[0] != "_":
            yield pytest.param(module, value, id=f"{name}.{function}")


def failures(module, function, docstring):
    """How many of a docstring's examples do not give what they say, and how many there are."""
    runner = doctest.DocTestRunner(verbose=False)
    scope = vars(module) | {"jnp": jnp}
    test = doctest.DocTestParser().get_doctest(docstring, dict(scope), function.__name__, None, None)
    return runner.run(test, out=lambda text: None)


@pytest.mark.parametrize(("module", "function"), [case for name in MODULES for case in pieces(name)])
def test_the_example_gives_what_it_says(module, function):
    failed, attempted = failures(module, function, function.__doc__)
    assert attempted, f"{function.__name__} has no example"
    assert not failed


def test_a_wrong_example_is_seen():
    from gradvar.pieces import advantage

    wrong = ">>> raw(jnp.array([[1.0, 0.0]])).tolist()\n[[1.0, 0.5]]\n"
    assert failures(advantage, advantage.raw, wrong) == (1, 1)
