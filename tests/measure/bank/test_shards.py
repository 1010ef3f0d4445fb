"""The files of a shard: what is written is what is read, and every part that does not fit the others is named."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from gradvar.files.atomic import file_digest
from gradvar.measure.bank import sample, shard_files
from gradvar.measure.bank.data import BasisRows
from gradvar.measure.bank.scores import GramScores, PromptGramScores, SketchedScores, WholeScores
from gradvar.measure.bank.shard_files import FORMAT, read_shard, write_manifest, write_shard
from tests.measure.bank.test_parts_of_banks import BASIS, recording, rollouts

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=5)
SCORES = {
    "whole": WholeScores(
        vectors=RNG.normal(size=(2, 3, 5)), truth=RNG.normal(size=(2, 3)), true_gradient=TRUTH
    ),
    "sketch": SketchedScores(vectors=RNG.normal(size=(2, 3, 4)), label="sketch"),
    "gram": PromptGramScores(
        gram=RNG.normal(size=(2, 3, 3)), truth=RNG.normal(size=(2, 3)), true_gradient=TRUTH
    ),
    "cross": GramScores(cross=RNG.normal(size=(2, 3, 2, 3))),
}
INFO = {
    "whole": {"map": "identity"},
    "sketch": {"map": "sketch"},
    "gram": {"map": "gram"},
    "cross": {"map": "gram"},
}


def made(kind="whole"):
    return recording(3, SCORES[kind], info=INFO[kind])


@pytest.mark.parametrize("kind", SCORES)
def test_a_shard_comes_back_as_it_was(tmp_path, kind):
    written = made(kind)
    write_shard(written, tmp_path)
    found = read_shard(tmp_path, None)
    pairs = [
        (written.rollouts.arrays(), found.rollouts.arrays()),
        (written.scores.arrays(), found.scores.arrays()),
    ]
    for first, second in pairs:
        assert first.keys() == second.keys()
        for name in first.keys() - {"prompts"}:
            np.testing.assert_array_equal(first[name], second[name])
            assert first[name].dtype == second[name].dtype
    np.testing.assert_array_equal(found.rollouts.prompts["x"], written.rollouts.prompts["x"])
    np.testing.assert_array_equal(found.rows.basis, BASIS)
    assert (type(found.scores), found.drawn, found.tolerance) == (type(written.scores), True, 1e-6)
    assert found.info == json.loads(json.dumps(dict(written.info)))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["format"], manifest["shape"]) == (FORMAT, {"prompts": 2, "rollouts": 3, "time": 4})


@pytest.mark.parametrize("kind", SCORES)
def test_some_prompts_of_a_shard(tmp_path, kind):
    """The second prompt has two rows: what is read of the scores is as wide as they are."""
    written = made(kind)
    write_shard(written, tmp_path)
    found = read_shard(tmp_path, slice(1, 2))
    assert (found.rollouts.shape, found.rows.shape) == ((1, 3, 4), (1, 2))
    np.testing.assert_array_equal(found.rollouts.rewards, written.rollouts.rewards[1:])
    held = written.scores
    if kind in ("whole", "sketch"):
        np.testing.assert_array_equal(found.scores.vectors, held.vectors[1:, :2])
    if kind == "gram":
        np.testing.assert_array_equal(found.scores.gram, held.gram[1:, :2, :2])
    if kind == "cross":
        np.testing.assert_array_equal(found.scores.cross, held.cross[1:, :2, 1:, :2])
    if kind in ("whole", "gram"):
        np.testing.assert_array_equal(found.scores.truth, held.truth[1:, :2])
        np.testing.assert_array_equal(found.scores.true_gradient, TRUTH)


def test_prompts_are_an_array_or_arrays_by_name(tmp_path):
    prompts = np.arange(4).reshape(2, 2)
    write_shard(replace(made(), rollouts=rollouts(3, prompts=prompts)), tmp_path)
    np.testing.assert_array_equal(read_shard(tmp_path, None).rollouts.prompts, prompts)
    with pytest.raises(
        ValueError, match="prompts: a list cannot be saved; use an array, or a mapping of arrays"
    ):
        write_shard(replace(made(), rollouts=rollouts(3, prompts=[1, 2])), tmp_path)


def rewritten(folder, file=None, changed=(), **facts):
    """A shard some of whose arrays or facts are others, with checksums that are right."""
    write_shard(made(), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    if file:
        path = folder / f"{file}.safetensors"
        before = {
            "rollouts": shard_files._flat_rollouts(made().rollouts), "rows": {"basis": BASIS},
            "scores": SCORES["whole"].arrays(),
        }[file]  # fmt: skip
        arrays = {name: x for name, x in (before | dict(changed)).items() if x is not None}
        save_file({n: np.ascontiguousarray(x) for n, x in arrays.items()}, path)
        manifest["sha256"][file] = file_digest(path)
    write_manifest(folder, {n: x for n, x in (manifest | facts).items() if n != "sha256_of_this"})


WRONG_ARRAYS = [
    ("rollouts", {"rewards": None}, "has no rewards"),
    ("rollouts", {"odd": np.zeros(2)}, "has an array 'odd', which no bank has"),
    ("rollouts", {"rewards": np.zeros((2, 4))}, "has rewards of float64 (2, 4), which does not fit the rest"),
    ("rollouts", {"rewards": np.zeros((1, 3))}, "has rewards of length 1, and its manifest says 2 prompts"),
    ("rollouts", {"rewards": np.zeros((2, 3), int)}, "has rewards of int64 (2, 3), which does not fit"),
    ("rollouts", {"rewards": np.full((2, 3), 2e15)}, "has rewards of 2e+15, of which nothing can be told"),
    ("rollouts", {"rewards": np.full((2, 3), -2e15)}, "has rewards of 2e+15, of which nothing can be told"),
    ("rollouts", {"rewards": np.full((2, 3), np.nan)}, "has rewards of nan, of which"),
    ("rollouts", {"prompts.x": None}, "has no prompt for every rollout's row"),
    (
        "rollouts",
        {"prompts.x": np.zeros((1, 2), int)},
        "has prompts.x of length 1, and its manifest says 2 prompts",
    ),
    ("rollouts", {"mask": np.zeros((2, 3, 4))}, "has mask of float64 (2, 3, 4), which does not fit"),
    ("rows", {"basis": None}, "has no basis"),
    ("rows", {"more": np.zeros(2)}, "has an array 'more'"),
    ("rows", {"basis": BASIS[:, :2]}, "has basis of float64 (2, 2, 2, 4), which does not fit"),
    ("rows", {"basis": np.full(BASIS.shape, 2e15)}, "has basis of 2e+15, of which nothing can be told"),
    ("scores", {"truth": np.zeros((2, 2))}, "has truth of float64 (2, 2), which does not fit"),
    ("scores", {"true_gradient": np.full(5, 1e16)}, "has true_gradient of 1e+16"),
    ("scores", {"vectors": np.full((2, 3, 5), np.inf)}, "has vectors of inf"),
    ("scores", {"vectors": None}, "is damaged (scores: ['true_gradient', 'truth'] hold 0 kinds of scores"),
    ("scores", {"gram": np.zeros((2, 3, 3))}, "is damaged (scores: "),
]


@pytest.mark.parametrize(
    ("file", "changed", "line"), WRONG_ARRAYS, ids=[f"{f}: {x}" for f, _, x in WRONG_ARRAYS]
)
def test_arrays_that_do_not_fit_are_named(tmp_path, file, changed, line):
    rewritten(tmp_path, file, changed)
    with pytest.raises(ValueError, match=r"^folder: ") as error:
        read_shard(tmp_path, None)
    assert f"{file}.safetensors {line}" in str(error.value)


LONGER = [
    ("rollouts", {"mask": np.ones((5, 3, 4), bool)}, "mask"),
    ("rollouts", {"prompts.x": np.zeros((5, 2), int)}, "prompts.x"),
    ("rows", {"basis": np.zeros((5, *BASIS.shape[1:]))}, "basis"),
    ("scores", {"truth": np.zeros((5, 3))}, "truth"),
    ("scores", {"vectors": None, "truth": None, "cross": np.zeros((2, 3, 5, 3))}, "cross"),
]


@pytest.mark.parametrize("wanted", [None, slice(0, 1)], ids=["whole", "part"])
@pytest.mark.parametrize(("file", "changed", "name"), LONGER, ids=[name for _, _, name in LONGER])
def test_a_longer_file_is_not_cut(tmp_path, file, changed, name, wanted):
    """What was copied from a larger recording, checksum and all, holds other prompts than the manifest says."""
    rewritten(tmp_path, file, changed)
    line = (
        rf"{file}\.safetensors has {name} of length 5, and its manifest says 2 prompts; record the bank again"
    )
    with pytest.raises(ValueError, match=line):
        read_shard(tmp_path, wanted)


def test_numbers_of_a_kind_that_numpy_has_not(tmp_path):
    write_shard(made(), tmp_path)
    header = json.dumps({"basis": {"dtype": "F8_E4M3", "shape": [2, 3], "data_offsets": [0, 6]}}).encode()
    path, manifest = tmp_path / "rows.safetensors", json.loads((tmp_path / "manifest.json").read_text())
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(6))
    manifest["sha256"]["rows"] = file_digest(path)
    write_manifest(tmp_path, {n: x for n, x in manifest.items() if n != "sha256_of_this"})
    with pytest.raises(ValueError, match=r"^folder: .*rows\.safetensors is damaged \("):
        read_shard(tmp_path, None)


def test_what_is_large_or_small_but_fits(tmp_path):
    rewritten(tmp_path, "rollouts", {"rewards": np.full((2, 3), -1e15), "logp_sampler": np.zeros((2, 3, 4))})
    assert read_shard(tmp_path, None).rollouts.rewards[0, 0] == -1e15
    empty = BASIS[:, :, :0]
    bare = replace(made(), rows=BasisRows.of(empty), scores=WholeScores(vectors=np.zeros((2, 1, 5))))
    write_shard(bare, tmp_path)
    assert read_shard(tmp_path, None).rows.count == 0


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"format": FORMAT + 1}, f"has format {FORMAT + 1}, and this version reads {FORMAT}"),
        ({"drawn": 1}, "is damaged (drawn: 1)"),
        ({"tolerance": 1}, "is damaged (tolerance: 1)"),
        ({"tolerance": float("inf")}, "is damaged (tolerance: inf)"),
        ({"info": []}, "is damaged (info: [])"),
        ({"sha256": {}}, "is damaged (sha256: {})"),
        ({"shape": {"prompts": 2, "rollouts": 3}}, "is damaged (shape: {'prompts': 2, 'rollouts': 3})"),
        ({"shape": {"prompts": 2, "rollouts": 3, "time": 0}}, "is damaged (shape: {"),
        ({"shape": {"prompts": True, "rollouts": 3, "time": 4}}, "is damaged (shape: {"),
        ({"shape": {"prompts": 2, "rollouts": 3, "time": 5}}, "which does not fit the rest"),
    ],
)
def test_a_manifest_that_does_not_fit_is_named(tmp_path, facts, line):
    rewritten(tmp_path, **facts)
    with pytest.raises(ValueError, match=r"^folder: ") as error:
        read_shard(tmp_path, None)
    assert line in str(error.value)


def test_damage_is_noticed_by_checksums(tmp_path):
    write_shard(made(), tmp_path)
    path, manifest = tmp_path / "scores.safetensors", tmp_path / "manifest.json"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"scores\.safetensors is not what was written \(checksum\)"):
        read_shard(tmp_path, None)
    path.unlink()
    with pytest.raises(ValueError, match=r"scores\.safetensors is missing; copy the whole folder"):
        read_shard(tmp_path, None)
    manifest.write_text(manifest.read_text().replace('"drawn": true', '"drawn": false'))
    with pytest.raises(ValueError, match=r"manifest\.json is not what was written \(checksum\)"):
        read_shard(tmp_path, None)


def test_numbers_that_are_not_finite_are_placed():
    for name, source in (("rewards", "the task"), ("logp", "the model"), ("logp_sampler", "the model")):
        made_of = rollouts(0, logp_sampler=np.zeros((2, 3, 4)))
        array = np.array(getattr(made_of, name))
        array[(1, 2, 3)[: array.ndim]] = np.nan
        array[(1, 1, 0)[: array.ndim]] = np.inf
        with pytest.raises(
            ValueError, match=rf"^{name}: inf for prompt 8, rollout 1; {source} gives no finite number"
        ):
            sample._require_finite(replace(made_of, **{name: array}), 7)
    sample._require_finite(rollouts(0), 7)
