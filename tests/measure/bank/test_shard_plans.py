"""How a recording is cut into shards and shared out among parts: by hand, with no model."""

from types import SimpleNamespace

import numpy as np
import pytest

from gradvar.gradients.sketch import Gram, Sketch, Whole
from gradvar.measure.bank import record
from gradvar.measure.bank.disk import ShardLayout
from gradvar.measure.bank.recorder import RecordPlan, RecordSettings, ShardPart


class Asked(Exception):
    """What a piece was asked for."""


def test_parts_of_shards():
    assert [ShardPart(n, 3).chosen(7).nonzero()[0].tolist() for n in (1, 2, 3)] == [[0, 3, 6], [1, 4], [2, 5]]
    assert ShardPart.parse("12/345") == ShardPart(12, 345)
    assert ShardPart.parse("1/1") == ShardPart(1, 1)
    assert ShardPart.parse("1/1234567890123").of == 1234567890123  # 15 signs
    for wrong in ("3", "3/", "/3", "a/3", "3/b", "1/12345678901234", "-1/3", "1/2/3"):
        with pytest.raises(ValueError, match=rf"^shard: '{wrong[:20]}'; give i/n with i from 1 to n"):
            ShardPart.parse(wrong)
    for number, of in ((0, 3), (4, 3), (1, 0)):
        with pytest.raises(ValueError, match=f"shard: {number}/{of}; give i/n"):
            ShardPart(number, of)


def test_what_shards_keep():
    def chosen(scores, need):
        return record._shard_map(RecordPlan((), scores, RecordSettings(memory=100)), need)

    assert [chosen("auto", need) for need in (100, 101)] == [Whole(), Sketch()]
    for scores in (Whole(), Gram(cross=False), Sketch("hashed", 4)):
        assert chosen(scores, 10**9) is scores
    with pytest.raises(ValueError, match="Gram across shards would need every score again"):
        chosen(Gram(cross=True), 1)


def test_shards_are_planned_by_the_bytes_of_all_whole_scores(monkeypatch):
    """Five prompts with six rollouts of 32 bytes each."""

    def chosen(plan, need):
        raise Asked(need)

    monkeypatch.setattr(record, "_shard_map", chosen)
    subject = SimpleNamespace(params={"a": np.zeros(3), "b": np.zeros(1)})
    for prompts in (5, {"x": np.zeros((5, 2))}):
        with pytest.raises(Asked, match=r"^960$"):
            record._record_shards(None, subject, None, prompts, 6, RecordPlan())


@pytest.mark.parametrize(
    ("scores", "settings", "held", "chunk"),
    [
        (Whole(), RecordSettings(), 2, 5),  # 449 bytes of a shard hold two prompts, 191 of a chunk five rows
        (Whole(), RecordSettings(shard=9), 5, 5),
        (Whole(), RecordSettings(shard=3, chunk=7), 3, 7),
        (Whole(), RecordSettings(part=ShardPart(1, 4)), 1, 5),
        (Whole(), RecordSettings(part=ShardPart(9, 9)), 1, 5),
        (Whole(), RecordSettings(part=ShardPart(1, 4), shard=2), 2, 5),
        (Sketch("hashed", 4), RecordSettings(), 4, 5),  # 29 rollouts are sampled together
        (Sketch("hashed", 4), RecordSettings(shard=1), 1, 5),
        (Sketch("hashed", 4), RecordSettings(part=ShardPart(1, 2)), 2, 5),
    ],
)
def test_prompts_of_a_shard_and_rows_of_a_chunk(monkeypatch, scores, settings, held, chunk):
    """Five prompts with six rollouts of 32 bytes each: a shard, and a program, are as large as fits."""

    def prepared(subject, key, prompts, rollouts, plan, held):
        raise Asked(held, plan.settings.chunk)

    monkeypatch.setattr(record, "prepare", prepared)
    monkeypatch.setattr(record, "_SHARD", 449)
    monkeypatch.setattr(record, "CHUNK", 191)
    monkeypatch.setattr(record, "rollouts_at_once", lambda row: 29)
    subject = SimpleNamespace(params=np.zeros(4))
    for most, expected in ((33, chunk), (32, settings.chunk if isinstance(scores, Sketch) else chunk)):
        monkeypatch.setattr(record, "LEAST", most)  # sketches of larger scores choose their rows themselves
        with pytest.raises(Asked) as asked:
            record._record_shards(None, subject, None, 5, 6, RecordPlan((), scores, settings))
        assert asked.value.args == (held, expected)
    monkeypatch.setattr(record, "CHUNK", 31)
    monkeypatch.setattr(record, "_SHARD", 1)
    with pytest.raises(Asked) as asked:
        record._record_shards(None, subject, None, 5, 6, RecordPlan((), Whole()))
    assert asked.value.args == (1, 1)


def test_more_parts_than_shards(monkeypatch, tmp_path):
    def entered(layout, run, locks, part):
        raise Asked(layout.count, layout.shard, layout.prompts)

    monkeypatch.setattr(record, "prepare", lambda *_, held: None)
    monkeypatch.setattr(record, "run_facts", lambda recorder, key, shard: {"shard": shard})
    monkeypatch.setattr(record, "_enter", entered)
    subject = SimpleNamespace(params=np.zeros(4))
    for number, error, line in (
        (1, Asked, None), (3, Asked, None),
        (4, ValueError, "shard: 4/5 has nothing to record, 5 prompts make 3 shards"),
    ):  # fmt: skip
        plan = RecordPlan((), Whole(), RecordSettings(part=ShardPart(number, 5), shard=2))
        with pytest.raises(error, match=line) as asked:
            record._record_shards(tmp_path, subject, None, 5, 6, plan)
        if not line:
            assert asked.value.args == (3, 2, 5)


def test_a_shard_is_recorded_written_and_counted(tmp_path):
    """Prompts 4 and 5 of six: what was recorded of them, under the number of the first, in the place of the third."""
    calls = []

    def recorded(prompts, first, pace):
        calls.append((prompts["x"].tolist(), first))
        return "recording"

    recorder = SimpleNamespace(prompts={"x": np.arange(6)}, record=recorded)
    layout = ShardLayout(tmp_path, 6, 2, "run")
    pace = SimpleNamespace(begin=lambda: calls.append("begin"), written=calls.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShardLayout, "write", lambda self, number, recording: calls.append((number, recording)))
        record._record_shard(recorder, layout, 2, pace)
    assert calls == [([4, 5], 4), "begin", (2, "recording"), 2]


def test_an_error_says_what_is_kept(tmp_path):
    layout = SimpleNamespace(folder=tmp_path, count=5)
    for error in (KeyboardInterrupt, ValueError):
        with (
            pytest.raises(error, match=f"2 of 5 shards are kept in {tmp_path}, which"),
            record._kept_shards(layout, 2),
        ):
            raise error("first")
    with record._kept_shards(layout, 2):
        pass
