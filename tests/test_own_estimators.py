"""Estimators of one's own beside the catalogue's: in studies, on the command line, in training arms and plots."""

import json

import numpy as np
import pytest

import gradvar as gv
from gradvar import catalogue
from gradvar.cli import main as cli
from gradvar.files.fingerprint import describe
from gradvar.studies.config import MeasureConfig
from gradvar.studies.study import variants
from gradvar.train import arms

SOURCE = '''
import gradvar as gv

def centred(rewards):
    """RLOO but for a factor."""
    return rewards - rewards.mean(axis=1, keepdims=True)

def objective(logp, batch):
    return gv.catalogue.get("rloo")(logp, batch)

def factory():
    return gv.catalogue.get("grpo", eps=0.5)

made = gv.catalogue.get("rloo")

def three(a, b, c):
    return a

def one(scores):
    return scores

def array(logp, batch):
    return logp

def numpy(logp, batch):
    import numpy as np
    return np.asarray(logp).sum()

def eight(logp, batch):
    assert logp.shape[1] == 8
    return logp.sum()
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_a_name_a_file_or_an_object_is_an_estimator(file):
    assert catalogue.resolve("Dr. GRPO") is catalogue.get("dr_grpo")
    assert catalogue.resolve(f"{file}:centred").name == "centred"
    assert catalogue.resolve(f"{file}:centred").needs == ()
    assert catalogue.resolve(f"{file}:factory").name == "grpo"
    assert catalogue.resolve(f"{file}:made") is catalogue.get("rloo")
    mine = gv.Estimator("mine", lambda logp, batch: (logp * 0).sum())
    assert catalogue.resolve(mine) is mine
    assert catalogue.resolve(mine.objective).name == "<lambda>"
    assert catalogue.resolve(f"{file}:eight").name == "eight"
    refused = {
        "three": "takes 3 arguments;", "one": "takes 1 argument;",
        "nothing": "has no 'nothing'", "array": r"returns shape \(1, 4, 2\)",
        "numpy": r"cannot be traced by JAX \(TracerArrayConversionError: ",
    }  # fmt: skip
    for name, words in refused.items():
        with pytest.raises(ValueError, match=f"^estimators: .*{words}"):
            catalogue.resolve(f"{file}:{name}")
    with pytest.raises(ValueError, match=r"estimators: .*gone.py does not exist"):
        catalogue.resolve(f"{file.parent / 'gone.py'}:f")


@pytest.mark.slow
def test_the_command_measures_them_as_it_does_the_catalogue_s(file, tmp_path, capsys):
    arguments = ["--policies", "bandit", "--group-sizes", "2", "--staleness", "0", "--quiet"]
    out = tmp_path / "results"
    names = ["rloo", f"{file}:objective", f"{file}:centred"]
    assert cli.run(["measure", *arguments, "--estimators", *names, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "centred" in printed
    content = json.loads((out / "measurements.json").read_text())
    values = {(r["estimator"], r["figure"]): r["value"] for r in content["rows"]}
    for figure in ("trace_cov", "bias_factor", "snr_per_rollout"):
        assert values["objective", figure] == pytest.approx(values["rloo", figure], rel=1e-9)
    assert values["centred", "bias_factor"] == pytest.approx(0.5 * values["rloo", "bias_factor"], rel=1e-9)
    assert content["provenance"]["config"]["estimators"] == names
    assert cli.run(["report", str(out)]) == 0
    assert "centred" in (out / "report.html").read_text()


def test_a_study_takes_objects_and_names_them(tmp_path):
    mine = gv.Estimator("half", lambda logp, batch: 0.5 * catalogue.get("rloo")(logp, batch))
    settings = {"policies": ("bandit",), "group_sizes": (2,), "staleness": (0,)}
    study = gv.study(estimators=("rloo", mine), **settings)
    (half,), (full,) = study.select(estimator="half"), study.select(estimator="rloo")
    assert half.moments.bias_factor == pytest.approx(0.5)
    np.testing.assert_allclose(4 * half.moments.trace_cov, full.moments.trace_cov)
    assert study.config.as_dict()["estimators"] == ["rloo", "half"]
    json.dumps(study.config.as_dict())
    assert repr(mine) == "Estimator('half')"
    same = gv.Estimator("rloo", mine.objective)
    with pytest.raises(ValueError, match="estimators: two are called 'rloo'"):
        variants(MeasureConfig(estimators=("rloo", same)))
    with pytest.raises(ValueError, match="estimators: half, half names something twice"):
        MeasureConfig(estimators=(mine, mine)).check()


def test_an_arm_of_one_s_own_has_its_group_and_its_code_in_its_name(file):
    arm = arms.get(f"{file}:centred@4")
    assert (arm.name, arm.group) == ("centred-4", 4)
    assert arms.get(f"{file}:centred").group == 16
    with pytest.raises(ValueError, match=r"arms: .*@GROUP"):
        arms.get(f"{file}:centred@two")
    with pytest.raises(ValueError, match=r"arms: .*has no 'nothing'"):
        arms.get(f"{file}:nothing")
    other = file.parent / "other.py"
    other.write_text(SOURCE.replace("mean(axis=1", "max(axis=1"))
    assert arms.get(f"{other}:centred@4").as_dict() != arm.as_dict()


def test_functions_of_a_user_differ_by_their_text(file):
    other = file.parent / "other.py"
    other.write_text(SOURCE.replace("mean(axis=1", "max(axis=1"))
    first, second = (catalogue.resolve(f"{path}:centred") for path in (file, other))
    assert describe(first) != describe(second)
    scope = {}
    exec("f = lambda x: x + 1\ng = lambda x: x + 2", scope)
    scope["g"].__qualname__ = scope["f"].__qualname__
    assert describe(scope["f"]) != describe(scope["g"])
    assert " of " not in describe(catalogue.get("rloo").objective)
