"""Losses on pairs whose baseline has no gradient: these need a framework that can hold one back."""

import pytest

from gradvar.testing.kinds import check_kind, kind_of, kind_target

torch = pytest.importorskip("torch")


def _kto(held):
    def kto(chosen_logratios, rejected_logratios, beta):
        c, r = chosen_logratios, rejected_logratios
        one, two = c.mean().clamp(min=0), r.mean().clamp(min=0)
        if held:
            one, two = one.detach(), two.detach()
        return torch.cat([1 - torch.sigmoid(beta * (c - two)), 1 - torch.sigmoid(beta * (one - r))])

    return kto


def _bco(held):
    def bco(chosen_logratios, rejected_logratios, beta):
        x, y = beta * chosen_logratios, beta * rejected_logratios
        shift = torch.cat([x, y]).mean()
        shift = shift.detach() if held else shift
        return -(torch.nn.functional.logsigmoid(x - shift) + torch.nn.functional.logsigmoid(shift - y)).mean()

    return bco


@pytest.mark.parametrize(("make", "name"), [(_kto, "kto_pair"), (_bco, "bco_pair")])
def test_a_baseline_without_gradient_is_known_and_one_with_it_is_not(make, name):
    target = kind_target(make(True), kind_of(make(True)))
    assert target.form is not None
    assert target.form.name == name
    assert check_kind(target, examples=10).ok
    report = check_kind(make(False), laws=["known_form"], examples=10)
    assert not report.ok


def test_the_threads_are_as_they_were():
    threads = torch.get_num_threads()
    check_kind(_kto(True), examples=1)
    assert torch.get_num_threads() == threads
