"""Whatever the files of a bank hold, reading them ends with a bank or with one line."""

import json
import shutil
import struct
import warnings
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from safetensors.numpy import load_file, save_file

import gradvar as gv
from gradvar.files.atomic import file_digest, read_json
from gradvar.measure.bank.shard_files import write_manifest
from tests.faults.scenes import same, unsharded

SHARD = "shard-00000"
FILES = ("manifest.json", "rollouts.safetensors", "rows.safetensors", "scores.safetensors")
MANY = settings(max_examples=100, deadline=None, database=None, derandomize=True,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    bank = unsharded()
    return bank, bank.save(tmp_path_factory.mktemp("saved") / "bank")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return tmp_path_factory.mktemp("room") / "bank"


def copied(saved, room):
    shutil.rmtree(room, ignore_errors=True)
    return Path(shutil.copytree(saved[1], room))


def sign(folder):
    """As somebody would who can compute checksums."""
    manifest = json.loads((folder / SHARD / "manifest.json").read_text())
    names = ("rollouts", "rows", "scores")
    manifest["sha256"] = {n: file_digest(folder / SHARD / f"{n}.safetensors") for n in names}
    write_manifest(folder / SHARD, manifest)


def opens_or_says_why(folder, bank):
    """The bank, or one line that names the folder."""
    said = None
    try:
        found = gv.ScoreBank.open(folder)
    except ValueError as error:
        said = str(error)
    if said is None:
        assert found.rollouts.shape == bank.rollouts.shape
        return True
    assert said.startswith("folder: ")
    assert "\n" not in said
    assert len(said) < 500
    return False


@pytest.mark.slow
@MANY
@given(name=st.sampled_from(FILES), at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(saved, room, name, at, bit):
    folder = copied(saved, room)
    content = bytearray((folder / SHARD / name).read_bytes())
    content[at % len(content)] ^= 1 << bit
    (folder / SHARD / name).write_bytes(bytes(content))
    opened = opens_or_says_why(folder, saved[0])
    assert (
        not opened or name == "manifest.json"
    )  # which has no sum of its own: its text, not its arrays, may differ


@pytest.mark.slow
@MANY
@given(name=st.sampled_from(FILES[1:]), at=st.integers(0, 300), content=st.binary(min_size=1, max_size=8))
def test_a_signed_header_of_any_bytes_is_no_crash(saved, room, name, at, content):
    folder = copied(saved, room)
    path = folder / SHARD / name
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(bytes(data))
    sign(folder)
    opens_or_says_why(folder, saved[0])


@pytest.mark.parametrize("length", [0, 7, 8, 1 << 20, (1 << 64) - 1])
def test_a_header_of_any_length_is_no_crash(saved, room, length):
    folder = copied(saved, room)
    (folder / SHARD / "rows.safetensors").write_bytes(struct.pack("<Q", length) + b'{"basis":{}}')
    sign(folder)
    assert not opens_or_says_why(folder, saved[0])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=8,
)
KEYS = ("format", "drawn", "tolerance", "info", "shape", "sha256")


@MANY
@given(key=st.sampled_from(KEYS), value=JSON, whole=st.booleans())
@pytest.mark.slow
def test_a_manifest_of_any_values_is_no_crash(saved, room, key, value, whole):
    folder = copied(saved, room)
    sign(folder)
    path = folder / SHARD / "manifest.json"
    if whole and not isinstance(value, dict):
        path.write_text(json.dumps(value))
    else:
        write_manifest(path.parent, value if whole else json.loads(path.read_text()) | {key: value})
    opens_or_says_why(folder, saved[0])


NESTED = ['{"format": 1, "info": ' + "[" * n + "]" * n + "}" for n in (300, 600, 990, 5_000, 50_000)]


@pytest.mark.parametrize(
    "text",
    [*NESTED, "[" * 200_000, "", "nul", "\x00", '{"format": 1}', '{"format": 1e999}'],
    ids=lambda text: text[:30] + str(len(text)),
)
def test_a_manifest_of_any_text_is_no_crash(saved, room, text):
    folder = copied(saved, room)
    (folder / SHARD / "manifest.json").write_text(text)
    assert not opens_or_says_why(folder, saved[0])


def test_a_manifest_does_not_fill_the_memory(saved, room):
    folder = copied(saved, room)
    with (folder / SHARD / "manifest.json").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing, on no disk
    assert not opens_or_says_why(folder, saved[0])
    with pytest.raises(ValueError, match="bytes"):
        read_json(folder / SHARD / "manifest.json", "folder", "")


ARRAYS = {
    "an array too many": ("rollouts", lambda x: x | {"extra": x["rewards"]}),
    "an array missing": ("rollouts", lambda x: {n: v for n, v in x.items() if n != "logp"}),
    "no prompts": ("rollouts", lambda x: {n: v for n, v in x.items() if n != "prompts"}),
    "another number of rollouts": ("rollouts", lambda x: x | {"rewards": x["rewards"][:, :3].copy()}),
    "another kind": ("rollouts", lambda x: x | {"mask": x["mask"].astype(np.int8)}),
    "fewer axes": ("rows", lambda x: {"basis": x["basis"][0].copy()}),
    "fewer rows": ("scores", lambda x: x | {"vectors": x["vectors"][:, :2].copy()}),
    "no scores": ("scores", lambda x: {"truth": x["truth"]}),
    "a score that is none": ("scores", lambda x: x | {"vectors": np.full_like(x["vectors"], np.nan)}),
    "scores without end": ("scores", lambda x: x | {"vectors": np.full_like(x["vectors"], -1e30)}),
    "a reward without end": ("rollouts", lambda x: x | {"rewards": np.full_like(x["rewards"], np.inf)}),
    "a scalar": ("scores", lambda x: x | {"truth": np.array(1.0)}),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_arrays_that_do_not_belong_together_are_refused(saved, room, what):
    folder, (name, change) = copied(saved, room), ARRAYS[what]
    path = folder / SHARD / f"{name}.safetensors"
    save_file(change(load_file(path)), path)
    sign(folder)
    assert not opens_or_says_why(folder, saved[0])


def test_the_fuzz_opens_what_is_whole(saved, room):
    """The planted violator: a reader that refused everything would pass all of the above."""
    folder = copied(saved, room)
    sign(folder)
    assert opens_or_says_why(folder, saved[0])
    assert same(gv.ScoreBank.open(folder), saved[0])


@MANY
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_run_is_noticed(saved, room, at, bit):
    folder = copied(saved, room)
    content = bytearray((folder / "run.json").read_bytes())
    content[at % len(content)] ^= 1 << bit
    (folder / "run.json").write_bytes(bytes(content))
    with warnings.catch_warnings(action="ignore"):  # shards may seem to be missing
        opened = opens_or_says_why(folder, saved[0])
    if opened:  # its text may differ, its values may not
        assert json.loads(bytes(content)) == json.loads((saved[1] / "run.json").read_text())


@MANY
@given(value=JSON)
def test_a_run_of_any_values_is_no_crash(room, value):
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir()
    (room / "run.json").write_text(json.dumps(value))
    with warnings.catch_warnings(), pytest.raises(ValueError, match="folder: ") as caught:
        gv.ScoreBank.open(room)
    assert "\n" not in str(caught.value)
