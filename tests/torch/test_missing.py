"""Without PyTorch the module can be imported, and says what to install when it is used."""

import subprocess
import sys

import pytest

import gradvar.torch


def test_it_is_light():
    code = "import sys, gradvar.torch; print({'torch', 'jax', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["record", "logprobs"])
def test_what_is_missing_is_said_in_one_line(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(vars(gradvar.torch), name, raising=False)
    with pytest.raises(ImportError, match=r"^torch: not installed; pip install torch$") as caught:
        getattr(gradvar.torch, name)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = gradvar.torch.absent
