"""What stands in the place of any file that a command reads: one line that names it, soon and in little memory."""

import io
import json
import os
import re
import resource
import socket
from pathlib import Path

import numpy as np
import pytest

from gradvar.cli import main as cli
from gradvar.files.cache import read_arrays, write_arrays
from gradvar.files.target import load_target
from gradvar.measure.bank.summary import Summary
from tests.audit import dumps
from tests.faults.scenes import unsharded
from tests.policies import folders, test_tokenizer

READERS = {  # ending of the file, and the command that reads it
    "a dump": (".jsonl", lambda good, path: ["audit", path]),
    "a dump of numbers": (".parquet", lambda good, path: ["audit", path]),
    "a packed dump": (".jsonl.gz", lambda good, path: ["audit", path]),
    "a dump of torch.save": (".pt", lambda good, path: ["audit", path]),
    "a format": (".toml", lambda good, path: ["audit", f"{good}/a.jsonl", "--format", path]),
    "an array": (".npy", lambda good, path: ["advise", "--rewards", path]),
    "a table": (".csv", lambda good, path: ["advise", "--rewards", path]),
    "a list": (".json", lambda good, path: ["advise", "--rewards", path]),
    "a summary": ("", lambda good, path: ["advise", "--summary", path]),
    "a bank": ("", lambda good, path: ["advise", "--bank", path]),
    "a result": (".json", lambda good, path: ["report", path, "--out", f"{good}/o.html"]),
    "settings": (".toml", lambda good, path: ["list", "--config", path]),
    "settings of a result": (".json", lambda good, path: ["list", "--config", path]),
    "exceptions": (".txt", lambda good, path: ["check", f"{good}/own.py:f", "--except-file", path]),
    "a function": (".py", lambda good, path: ["identify", f"{path}:f"]),
    "claims": ("", lambda good, path: ["prove", path]),
    "prompts": (".jsonl", lambda good, path: ["record", f"{good}/model", path, "--out", f"{good}/out"]),
    "a model": ("", lambda good, path: ["record", path, f"{good}/prompts.jsonl", "--out", f"{good}/out"]),
}
FILES_OF_A_MODEL = (
    "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    "model.safetensors.index.json",
)  # fmt: skip


READABLE = {  # a circle of links is no file, as if there was none
    "chat_template.jinja": (
        "lists",
        "zeros",
        "circle",
    ),  # texts like any other; the settings have a template as well
    "tokenizer_config.json": ("circle",),
    "model.safetensors.index.json": ("circle",),
}


def pipe(path):
    os.mkfifo(path)


def sock(path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))  # names of sockets are short


def endless(path):
    path.symlink_to("/dev/zero")


def circle(path):
    path.symlink_to(path)


def folder(path):
    path.mkdir()


def holes(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


ALLOWED = {
    ("exceptions", "no bytes"),  # no exception
    ("settings", "no bytes"),  # no setting
    ("a summary", "holes"),  # is mapped, which takes no memory, and refused by its header
}
KINDS = {
    "pipe": pipe, "socket": sock, "device": endless, "circle": circle, "folder": folder, "holes": holes,
    "nothing": lambda path: None,
    "no bytes": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(1000)),
    "no text": lambda path: path.write_bytes(b'{"a": "\xe9"}\n'),
    "lists": lambda path: path.write_bytes(b"x = " * (path.suffix == ".toml") + b"[" * 100_000),
    "objects": lambda path: path.write_bytes(b'{"a":' * 100_000),
}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    place = tmp_path_factory.mktemp("good")
    dumps.write(place / "a.jsonl", dumps.rows(0, steps=3, size=8))
    (place / "own.py").write_text("def f(rewards):\n    return rewards - rewards.mean(-1, keepdims=True)\n")
    prompts = [json.dumps({"prompt": "two" + " two" * i, "answer": "1"}) for i in range(4)]
    (place / "prompts.jsonl").write_text("\n".join(prompts))
    folders.write(place / "model", "llama")
    test_tokenizer.write(place / "model", chat_template="{{ messages[0]['content'] }}")
    return place


@pytest.fixture
def short_of_memory():
    """So little that a file of a terabyte, or one that never ends, is an error at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 30), hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def one_line(arguments, capsys):
    """The line that a command refuses its arguments with."""
    assert cli.run(arguments) == 2, arguments
    line = capsys.readouterr().err
    assert re.fullmatch(r"gradvar( check| identify)?: .*; .*\n", line), line
    assert len(line) < 1000
    assert "memory is full" not in line
    return line


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux says how much memory is used")
@pytest.mark.parametrize("reader", READERS)
def test_whatever_stands_in_the_place_of_a_file(reader, good, tmp_path, monkeypatch, capsys, short_of_memory):
    ending, arguments = READERS[reader]
    monkeypatch.chdir(tmp_path)
    for kind, make in KINDS.items():
        path = tmp_path / f"{kind}{ending}"
        make(path)
        if (reader, kind) in ALLOWED:
            continue
        assert path.name in one_line(arguments(good, str(path)), capsys), kind


@pytest.mark.parametrize("name", FILES_OF_A_MODEL)
def test_whatever_stands_in_the_place_of_a_file_of_a_model(name, good, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for kind in ("pipe", "device", "circle", "folder", "zeros", "lists"):
        model = tmp_path / kind
        folders.write(model, "llama")
        test_tokenizer.write(model, chat_template="{{ messages[0]['content'] }}")
        (model / name).unlink(missing_ok=True)
        KINDS[kind](model / name)
        if kind in READABLE.get(name, ()):
            continue
        arguments = ["record", str(model), f"{good}/prompts.jsonl", "--out", f"{good}/out", "--chat"]
        line = one_line([*arguments, "--completion-length", "2"], capsys)
        assert str(model) in line, kind


def changed(change):
    """The bytes of an array's file, with another array in it or another header."""
    file = io.BytesIO()
    np.save(file, change if isinstance(change, np.ndarray) else np.eye(3))
    return file.getvalue().replace(b"(3, 3)", change) if isinstance(change, bytes) else file.getvalue()


@pytest.mark.parametrize(
    "change",
    [np.eye(3) * 1j, np.array([["1_0", "0"]]), np.zeros((2, 2, 2)), np.full((2, 3), np.nan), np.zeros((0, 3)),
     b"(3, 9)", b"(-1,3)", b"('a',)", b"((((((", b"(10**9"],
    ids=str,
)  # fmt: skip
def test_an_array_that_is_no_table_of_rewards(change, tmp_path, capsys):
    (tmp_path / "a.npy").write_bytes(changed(change))
    one_line(["advise", "--rewards", str(tmp_path / "a.npy")], capsys)


SETTINGS = (5, [], "x", {"provenance": 5}, {"provenance": "x"}, {"provenance": {"config": 5}}, {"list": 5})


@pytest.mark.parametrize("content", SETTINGS, ids=str)
def test_a_setting_that_is_no_setting(content, tmp_path, capsys):
    (tmp_path / "a.json").write_text(json.dumps(content))
    try:
        code = cli.run(["list", "--config", str(tmp_path / "a.json")])
    except SystemExit as stop:  # by the parser: no such option
        code = stop.code
    assert code == 2
    assert re.fullmatch(r"gradvar: error: .*; .*\n", capsys.readouterr().err)


def test_numbers_of_a_format_that_no_float_holds(tmp_path, good, capsys):
    for number in ("1" + "0" * 400, "1" + "0" * 5000, "inf", "nan"):
        path = tmp_path / "a.toml"
        path.write_text(f'[mine]\nprompt = ["prompt"]\nreward = ["reward"]\nvalues = {{yes = {number}}}\n')
        assert "format: " in one_line(["audit", f"{good}/a.jsonl", "--format", str(path)], capsys)


@pytest.mark.slow
def test_a_summary_is_read_whole_or_refused(tmp_path):
    path = tmp_path / "a"
    unsharded().summary().save(path)
    arrays, facts = read_arrays(path)
    one = arrays["p"]
    changes = [
        *({name: None} for name in ("p", "rewards", "gradients", "half0.p")),
        {"p": one[:1]},
        {"p": one.astype(int)},
        {"signal": np.full_like(one, np.nan)},
        {"zeta1": np.full_like(one, np.inf)},
        {"more": one},
        {"se.more": one},
        {"gradients": arrays["gradients"][:, :1]},
        {"rewards": arrays["rewards"][0]},
    ]
    for change in changes:
        rest = {n: x for n, x in (arrays | change).items() if x is not None}
        if rest.keys() == arrays.keys() and all(rest[n] is arrays[n] for n in rest):
            continue  # of a bank with too few rollouts for halves
        write_arrays(path, {n: np.ascontiguousarray(x) for n, x in rest.items()}, facts)
        with pytest.raises(ValueError, match=r"summary: .* is no summary \(.*\); give"):
            Summary.open(path)
    for wrong in ({**facts, "on_policy": 1}, {**facts, "kind": "moments"}, {"kind": "summary"}):
        write_arrays(path, arrays, wrong)
        with pytest.raises(ValueError, match=r"summary: .* is no summary"):
            Summary.open(path)


def test_a_function_in_a_circle_of_links(tmp_path):
    (tmp_path / "a.py").symlink_to(tmp_path / "a.py")
    with pytest.raises(ValueError, match=r"target: .* does not exist; give"):
        load_target(f"{tmp_path}/a.py:f")
