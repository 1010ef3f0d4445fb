"""Templates and tokenizers that loop, grow or are no such thing: one line that names the file, within the limits."""

import json
import os
import socket

import pytest

from gradvar.policies.transformer import text_process, tokenizer
from gradvar.policies.transformer.text_process import TextLimits
from gradvar.policies.transformer.tokenizer import Tokenizer

from .test_tokenizer import write

LIMITS = TextLimits(seconds=0.1, memory=300 << 20, characters=1 << 16, tokens=1 << 12)
TEMPLATES = {
    "a loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a loop that writes": "{% for a in range(99999) %}aaaaaaaaaa{% endfor %}",
    "a string": "{% set s = namespace(v='a') %}{% for i in range(60) %}{% set s.v = s.v ~ s.v %}{% endfor %}{{ s.v }}",
    "a product": "{{ 'a' * 10 ** 11 }}",
    "a number": "{% set n = namespace(v=3) %}{% for i in range(99) %}{% set n.v = n.v * n.v %}{% endfor %}{{ n.v }}",
    "a power": "{{ 7 ** (7 ** 12) }}",
    "a list": "{% set l = namespace(v=[1]) %}{% for i in range(60) %}{% set l.v = l.v + l.v %}{% endfor %}",
    "a division": "{{ 1 / 0 }}",
    "a recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "no program": "{% if %}",
    "deep": "{{ " + "(" * 5000 + ")" * 5000 + " }}",
    "a format": "{{ '%9999999999d' % 1 }}",
}


SLOW = ("a power", "a number")  # a second of computing each, the least that the system can limit


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in TEMPLATES]
)
def test_templates_are_ended(tmp_path, kind):
    write(tmp_path, chat_template=TEMPLATES[kind])
    with pytest.raises(ValueError, match=r"tokenizer: the chat template in .* does not take this") as caught:
        Tokenizer(tmp_path, LIMITS).chat("two")
    line = str(caught.value)
    assert str(tmp_path) in line
    assert line.endswith("; give plain prompts")
    assert "\n" not in line
    assert len(line) < 600
    assert Tokenizer(tmp_path, LIMITS).encode(["two"]).tolist() == [[1, 5]]  # what comes after it works


def test_one_process_answers_many_prompts(tmp_path):
    opened = write(
        tmp_path, chat_template="{{ messages | tojson }}{% for i in [1, 2] %}{% break %}{% endfor %}"
    )
    process = text_process.shared(TextLimits())
    opened.chat("<a & é>")
    first = process._process.pid
    for i in range(50):
        assert json.loads(opened.chat(f"<{i} & é>")) == [{"role": "user", "content": f"<{i} & é>"}]
    assert "<a & é>" in opened.chat("<a & é>")  # as the transformers library writes it, not as HTML
    assert process._process.pid == first


WRITTEN = {  # as the transformers library writes them, here and there
    "{% set n = namespace(v=1) %}{% for i in [1, 2] %}{% set n.v = n.v + i %}{% endfor %}{{ n.v }}": "4",
    "{% for m in messages %}{% generation %}{{ m.role }}{% set x = 1 %}{% endgeneration %}{{ x }}{% endfor %}": "user",
    "{{ dict(a=1).a }}{{ cycler('b', 'c').next() }}": "1b",
    "{{ strftime_now('%%') }}{{ strftime_now is defined }}": "%True",
}


@pytest.mark.parametrize("template", WRITTEN)
def test_templates_have_what_the_library_gives_them(tmp_path, template):
    assert write(tmp_path, chat_template=template).chat("two") == WRITTEN[template]


@pytest.mark.parametrize("name", ["__class__", "_a"])
def test_a_namespace_takes_no_name_of_pythons_own(tmp_path, name):
    for template in (
        f"{{{{ namespace({name}=1) }}}}",
        f"{{% set n = namespace() %}}{{% set n.{name} = 1 %}}",
    ):
        with pytest.raises(ValueError, match="no name that begins with an underscore"):
            write(tmp_path, chat_template=template).chat("two")


def grown(folder, change):
    """A folder whose tokenizer.json is changed."""
    write(folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    change(content)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


def doubling(content):
    double = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    content["normalizer"] = {"type": "Sequence", "normalizers": [double] * 40}


def large_ids(content):
    content["model"]["vocab"]["two"] = 3_000_000_000


def many_tokens(content):
    content["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"String": ""},
        "behavior": "Isolated",
        "invert": False,
    }


@pytest.mark.parametrize(
    ("change", "text"),
    [pytest.param(doubling, "a", marks=pytest.mark.slow), (large_ids, "two"), (many_tokens, "two" * 5000)],
)
def test_tokenizers_are_ended(tmp_path, change, text):
    opened = Tokenizer(grown(tmp_path, change), LIMITS)
    with pytest.raises(ValueError, match=r"tokenizer: .*tokenizer\.json fails \(.*\); save") as caught:
        opened.encode([text])
    assert "\n" not in str(caught.value)


def test_large_ids_of_the_stop_token(tmp_path):
    def change(content):
        content["added_tokens"][1]["id"] = content["model"]["vocab"]["</s>"] = 3_000_000_000

    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        Tokenizer(grown(tmp_path, change), LIMITS).encode(["</s>"])


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket", "large", "bytes"])
def test_what_is_no_small_plain_file_is_named(tmp_path, name, kind, monkeypatch):
    write(tmp_path, chat_template="{{ 1 }}")
    path = tmp_path / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(name)
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(1 << 30)
    else:
        path.write_bytes(b"\xff\xfe{{ 1 }}")
    with pytest.raises(ValueError, match="tokenizer: ") as caught:
        Tokenizer(tmp_path, LIMITS).chat("two")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert tokenizer.LARGEST_TEMPLATE < 1 << 30
