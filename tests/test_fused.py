"""Sweeps trained: each head follows the curve that it would have alone, and nothing is lost."""

from itertools import islice

import numpy as np
import pytest
import torch

from autofreeze.binding import Columns
from autofreeze.cost import heads_work, run_work
from autofreeze.engine import Engine
from autofreeze.errors import ConfigError
from autofreeze.fused import fit_heads, refusal
from autofreeze.job import Member
from autofreeze.recipes import linear_probe
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule
from autofreeze.stability import why_unstable
from autofreeze.training import fit

LABELS = np.array([int(one) for one in "00010201001002010001201" + "01201002"])
"""Imbalanced; 23 train in uneven batches of 8, 8 and 7."""

RTOL, ATOL = 2e-4, 2e-5
"""To which curves agree over a few epochs: products of other shapes round otherwise, and it is amplified."""


@pytest.fixture
def sweep(backbone, examples):
    """``sweep(members, ...)``: (model, its run); ``together=False`` gives each head's run alone."""

    def make(members, *, name="test_resnet", seed=0, alone=False, whole=False, n_val=8, **fitting):
        loaded = backbone(name)
        data = examples(23, n_val, labels=LABELS[: 23 + n_val])
        engine = None if whole else Engine(loaded, 3, torch.device("cpu"))

        def model():
            return loaded.build(3, seed=1)

        def run(model, member):
            columns = Columns.of(model, loaded.groups)
            return fit(
                model, columns, member.schedule, member.regime, data, seed=seed, engine=engine, **fitting
            )

        if alone:
            return [list(run(model(), member)) for member in members]
        own = model()
        return own, fit_heads(
            own, Columns.of(own, loaded.groups), members, data, seed=seed, engine=engine, **fitting
        )

    return make


def members(groups, cells, *, epochs=3.0, **regimes):
    """Heads at several rates; ``regimes`` are lists that are gone through."""
    found = []
    for place, cell in enumerate(cells):
        own = {name: values[place % len(values)] for name, values in regimes.items()}
        schedule = linear_probe(groups, epochs, head_lr=cell)
        found.append(Member(schedule=schedule, regime=Regime(batch_size=8, **own)))
    return found


@pytest.fixture
def groups(backbone):
    return backbone().groups.names


def assert_follows(record, alone):
    for name in ("train_loss", "phase_start_loss", "val_loss"):
        assert getattr(record, name) == pytest.approx(getattr(alone, name), rel=RTOL, abs=ATOL)
    for name in ("rates", "grad_norms", "grad_norms_max", "weight_norms"):
        for ours, theirs in zip(getattr(record, name), getattr(alone, name), strict=True):
            assert ours == (None if theirs is None else pytest.approx(theirs, rel=10 * RTOL, abs=ATOL))
    assert_same_thaws(record.thaws, alone.thaws)
    assert record.drift == alone.drift == 0.0
    exact = ("epoch", "epochs_done", "step", "n_val", "work", "epochs_since_unfreeze", "diverged", "last")
    for name in exact:
        assert getattr(record, name) == pytest.approx(getattr(alone, name)), name
    assert record.value == pytest.approx(alone.value, abs=1 / record.n_val + 1e-9)
    assert record.train_top1 == pytest.approx(alone.train_top1, abs=1 / 23 + 1e-9)


def assert_same_thaws(ours, theirs):
    assert [(one.step, one.columns) for one in ours] == [(one.step, one.columns) for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=RTOL)
        for name in ("grad_norms", "weight_norms"):
            *frozen, head = getattr(one, name)
            assert frozen == list(getattr(other, name)[:-1])
            assert head == pytest.approx(getattr(other, name)[-1], rel=10 * RTOL)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_head_follows_the_curve_that_it_has_alone(sweep, groups, optimizer):
    cells = np.geomspace(3e-3, 3e-2, 6) if optimizer == "sgd" else np.geomspace(3e-4, 1e-2, 6)
    heads = members(
        groups, [float(f"{cell:.4g}") for cell in cells], epochs=2.5, optimizer=[optimizer],
        weight_decay=[0.0, 0.3], label_smoothing=[0.0, 0.0, 0.2], class_weights=["none", "balanced"],
    )  # fmt: skip
    curves = sweep(heads, alone=True)
    _, run = sweep(heads)
    records = list(run)
    assert [record.last for record in records] == [False, False, True]
    for epoch, record in enumerate(records):
        assert len(record.members) == 6
        for member, curve in zip(record.members, curves, strict=True):
            assert_follows(member, curve[epoch])
    agreed = [
        np.mean(member.predicted_classes == curve[-1].predicted_classes)
        for member, curve in zip(records[-1].members, curves, strict=True)
    ]
    assert np.mean(agreed) > 0.95


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet", "mobilenetv3_small_050"])
@pytest.mark.parametrize("whole", [False, True], ids=["cut", "whole"])
def test_the_first_steps_agree_tightly_whatever_the_model(sweep, backbone, name, whole):
    heads = members(backbone(name).groups.names, [1e-3, 3e-3], epochs=0.34)
    curves = sweep(heads, name=name, alone=True, whole=whole)
    _, run = sweep(heads, name=name, whole=whole)
    (record,) = run
    assert record.step == 1
    for member, (alone,) in zip(record.members, curves, strict=True):
        assert member.train_loss == pytest.approx(alone.train_loss, rel=1e-6)
        assert member.grad_norms[-1] == pytest.approx(alone.grad_norms[-1], rel=1e-5)
        assert member.val_loss == pytest.approx(alone.val_loss, rel=1e-5)


def test_phases_of_one_head_have_their_own_rates_and_first_losses(sweep, groups):
    heads = [
        Member(
            schedule=Schedule(
                groups=groups,
                phases=[Phase(epochs=1.34, lrs=(*(None,) * (len(groups) - 1), low)),
                        Phase(epochs=1.66, lrs=(*(None,) * (len(groups) - 1), 3 * low))],
                curve_over="phase", lr_ramp_epochs=0.67,
            ),
            regime=Regime(batch_size=8),
        )
        for low in (1e-3, 2e-3)
    ]  # fmt: skip
    curves = sweep(heads, alone=True)
    _, run = sweep(heads)
    for epoch, record in enumerate(run):
        for member, curve in zip(record.members, curves, strict=True):
            assert_follows(member, curve[epoch])


def test_the_record_is_that_of_the_head_that_leads(sweep, groups):
    _, run = sweep(members(groups, [1e-6, 1e-2, 1e-5]))
    for record in run:
        best = max(record.members, key=lambda member: (member.value, -member.val_loss))
        assert (record.value, record.val_loss, record.rates) == (best.value, best.val_loss, best.rates)
        # What was predicted is kept at the end alone, where heads are compared image by image.
        assert all(bool(member.predicted) == record.last for member in record.members)
        assert record.predicted


def test_the_model_is_left_with_the_head_that_led_at_last(sweep, groups, backbone, examples):
    heads = members(groups, [1e-6, 1e-2, 1e-5])
    model, run = sweep(heads)
    *_, last = run
    assert last.rates[-1] == last.members[1].rates[-1]
    loaded = backbone()
    alone = loaded.build(3, seed=1)
    data = examples(23, 8, labels=LABELS)
    list(fit(alone, Columns.of(alone, loaded.groups), heads[1].schedule, heads[1].regime, data, seed=0))
    torch.testing.assert_close(
        model.get_classifier().weight, alone.get_classifier().weight, rtol=1e-3, atol=1e-5
    )


def test_a_head_that_diverges_ends_alone(sweep, groups):
    heads = members(groups, [1e-3, 1e30, 3e-3, 1e38], optimizer=["sgd"])
    curves = sweep(heads, alone=True)
    _, run = sweep(heads)
    records = list(run)
    assert [record.last for record in records] == [False, False, True]
    assert not any(why_unstable(record) for record in records)
    for place in (0, 2):
        for record, alone in zip(records, curves[place], strict=True):
            assert_follows(record.members[place], alone)
    for place in (1, 3):
        (broken,) = {record.members[place].diverged for record in records}
        assert broken == curves[place][-1].diverged
        assert broken.startswith("non-finite")
        assert records[-1].members[place].step == curves[place][-1].step
        assert records[-1].members[place].epoch == 0


def test_a_sweep_breaks_off_when_every_head_has(sweep, groups):
    _, run = sweep(members(groups, [1e30, 1e38], optimizer=["sgd"]))
    (record,) = run
    assert record.last
    assert record.diverged.startswith("non-finite")
    assert why_unstable(record)


def test_work_passes_the_frozen_layers_once(sweep, groups, backbone):
    heads = members(groups, [1e-3, 2e-3, 3e-3, 4e-3])
    _, run = sweep(heads)
    *_, last = run
    shares = backbone().groups.work_shares
    timetable = heads[0].schedule.timetable(3)
    alone = run_work(timetable, shares, n_train=23, n_val=8)
    assert [member.work for member in last.members] == pytest.approx([alone] * 4)
    assert last.work == pytest.approx(alone + 3 * shares[-1] * 3 * (3 * 23 + 8))
    assert heads_work(shares, 10, 1, trained=True) == pytest.approx(10 * (1 + 2 * shares[-1]))


@pytest.mark.parametrize("stop", [1, 2])
def test_a_killed_sweep_goes_on_from_its_last_epoch_to_the_bit(sweep, groups, tmp_path, stop):
    heads = members(groups, [1e-3, 1e30, 3e-3], optimizer=["sgd"], label_smoothing=[0.1, 0.0])
    model, run = sweep(heads)
    expected = list(run)
    file = tmp_path / "rolling.pt"
    _, first = sweep(heads, checkpoint=file)
    begun = list(islice(first, stop))
    again, second = sweep(heads, checkpoint=file)
    records = list(second)
    assert all(one.same_as(other) for one, other in zip(records, expected, strict=True))
    assert [record.seconds for record in records[:stop]] == [record.seconds for record in begun]
    assert torch.equal(again.get_classifier().weight, model.get_classifier().weight)
    _, third = sweep(heads, checkpoint=file)
    assert len(list(third)) == len(expected)  # one that is over yields its records, and trains nothing


def test_the_checkpoint_of_another_sweep_is_refused(sweep, groups, tmp_path):
    file = tmp_path / "rolling.pt"
    _, run = sweep(members(groups, [1e-3, 2e-3]), checkpoint=file)
    next(run)
    _, other = sweep(members(groups, [1e-3, 4e-3]), checkpoint=file)
    with pytest.raises(ConfigError, match="the checkpoint of another run"):
        next(other)


def test_without_validation_images_there_is_no_sweep(sweep, groups):
    _, run = sweep(members(groups, [1e-3, 2e-3], epochs=1.0), n_val=0)
    with pytest.raises(ConfigError, match="no validation image"):
        next(run)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("test_resnet", ""),
        ("test_vit", ""),
        ("test_efficientnet", ""),
        ("test_convnext", ""),
        ("test_maxvit", ""),
        ("mobilenetv3_small_050", ""),
        ("deit_tiny_distilled_patch16_224", "its head is more than one linear layer"),
    ],
)
def test_heads_are_swept_where_they_are_one_linear_layer_on_steady_features(backbone, name, told):
    loaded = backbone(name)
    model = loaded.build(3, seed=0)
    assert refusal(model, Columns.of(model, loaded.groups), 32) == told


def test_a_dropout_before_the_head_is_refused(backbone):
    loaded = backbone()
    model = loaded.build(3, seed=0, drop_rate=0.5)
    before = torch.random.get_rng_state()
    assert refusal(model, Columns.of(model, loaded.groups), 32) == (
        "its head sees other features in training, such as those of a dropout"
    )
    assert torch.equal(before, torch.random.get_rng_state())
