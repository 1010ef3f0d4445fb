"""The tokenizer of a folder: padding, stop token, and chat templates that may do nothing but write text."""

import json

import numpy as np
import pytest

from gradvar.policies.transformer.tokenizer import PAD, Tokenizer

tokenizers = pytest.importorskip("tokenizers")

WORDS = ["<unk>", "<s>", "</s>", "<|user|>", "<|end|>", "two", "and", "is", "four", "."]
CHAT = "{{ bos_token }}{% for m in messages %}<|user|> {{ m['content'] }} <|end|> {% endfor %}"
CHAT += "{% if add_generation_prompt %}is{% endif %}"


def write(folder, **settings):
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    inner.decoder = tokenizers.decoders.Fuse()
    inner.add_special_tokens(["<s>", "</s>", "<|user|>", "<|end|>"])
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    inner.enable_truncation(2)  # what a folder says of lengths is not ours
    inner.enable_padding(length=9)
    inner.save(str(folder / "tokenizer.json"))
    known = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(known | settings))
    return Tokenizer(folder)


def test_text_to_left_padded_tokens_and_back(tmp_path):
    tokenizer = write(tmp_path)
    found = tokenizer.encode(["two and two", "two"])
    np.testing.assert_array_equal(found, [[1, 5, 6, 5], [PAD, PAD, 1, 5]])
    np.testing.assert_array_equal(tokenizer.encode(["two"], special=False), [[5]])
    assert (tokenizer.stop, tokenizer.size) == (2, 10)
    assert tokenizer.decode(np.array([8, 9, 2, 5, 5])) == "four."
    assert tokenizer.decode(np.array([3, 8])) == "four"
    assert tokenizer.decode(np.array([3, 8]), special=True) == "<|user|>four"
    with pytest.raises(ValueError, match="prompt 1 has no token"):
        tokenizer.encode(["two", ""], special=False)


def test_chat_templates(tmp_path):
    tokenizer = write(tmp_path, chat_template=CHAT)
    assert tokenizer.has_chat
    assert tokenizer.chat("two and two") == "<s><|user|> two and two <|end|> is"
    assert tokenizer.chat([{"role": "user", "content": "two"}] * 2).count("<|user|>") == 2
    np.testing.assert_array_equal(tokenizer.encode([tokenizer.chat("two")], special=False), [[1, 3, 5, 4, 7]])
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}!")
    assert Tokenizer(tmp_path).chat("two") == "two!"
    plain = write(tmp_path / ".." / tmp_path.name, chat_template=[{"name": "default", "template": "x"}])
    assert plain.chat("two") == "two!"  # the file counts first


@pytest.mark.parametrize("template", [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__init__.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ raise_exception.__globals__['__builtins__']['open']('x', 'w') }}",
    "{{ messages.append({}) }}",
    "{% include 'tokenizer_config.json' %}",
    "{{ range(10**9) | list }}",
    "{{ raise_exception('no system role') }}",
    "{% if %}",
])  # fmt: skip
def test_a_template_can_do_nothing_but_write_text(tmp_path, template):
    tokenizer = write(tmp_path, chat_template=template)
    with pytest.raises(ValueError, match="does not take this") as caught:
        tokenizer.chat("two")
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"no file .*tokenizer\.json"):
        Tokenizer(tmp_path)
    tokenizer = write(tmp_path)
    with pytest.raises(ValueError, match="no chat template"):
        tokenizer.chat("two")
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "model": 3}')
    with pytest.raises(ValueError, match="cannot be read"):
        Tokenizer(tmp_path)
