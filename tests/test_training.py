"""Training by a schedule: what moves, what repeats, what a run can survive."""

import random

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from autofreeze.backbone import load_backbone
from autofreeze.binding import Columns
from autofreeze.cost import run_work
from autofreeze.data import open_dataset
from autofreeze.errors import ConfigError
from autofreeze.examples import Examples
from autofreeze.layers import group_buffers
from autofreeze.metrics import unpack_losses
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule
from autofreeze.splits import scoring_splits
from autofreeze.stability import why_unstable
from autofreeze.stores import open_decoded_store
from autofreeze.training import evaluate, fit

FAMILIES = ["test_resnet", "test_efficientnet", "test_maxvit", "test_byobnet", "mobilenetv3_small_050"]
"""Families with BatchNorm."""

SMALL = Regime(batch_size=8)


def table(groups, *rows, lr=1e-3, **curve):
    """Rows of (epochs, how many backbone groups from the head train)."""
    n = len(groups)
    phases = [
        Phase(epochs=epochs, lrs=tuple(lr if i >= n - 1 - depth else None for i in range(n)))
        for epochs, depth in rows
    ]
    return Schedule(groups=groups, phases=phases, **curve)


@pytest.fixture
def begin(backbone, examples):
    """``begin(rows, ...)``: a new model and its run."""

    def make(
        *rows, name="test_resnet", regime=SMALL, seed=0, lr=1e-3, data=None, drops=None, curve=None, **fitting
    ):
        loaded = backbone(name)
        model = loaded.build(3, seed=0, **(drops or {}))
        schedule = table(loaded.groups.names, *rows, lr=lr, **(curve or {}))
        columns = Columns.of(model, loaded.groups)
        data = data or examples()
        return model, fit(model, columns, schedule, regime, data, seed=seed, **fitting)

    return make


def tensors(model):
    return {
        name: value.detach().clone() for name, value in (*model.named_parameters(), *model.named_buffers())
    }


def same_tensors(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def same_curve(one, other):
    return len(one) == len(other) and all(a.same_as(b) for a, b in zip(one, other, strict=True))


# What moves


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("name", FAMILIES)
def test_not_one_bit_of_a_frozen_group_moves(begin, backbone, name, optimizer):
    regime = Regime(batch_size=8, optimizer=optimizer, weight_decay=0.5)
    drops = {"drop_rate": 0.3, "drop_path_rate": 0.3}
    # Head only for one and a half epochs, so that one validation lies in the frozen phase.
    model, records = begin((1.5, 0), (1.5, 2), name=name, regime=regime, lr=1e-2, drops=drops)
    groups = backbone(name).groups
    column = {name: c for c, group in enumerate(groups.groups) for name in group.parameters}
    column |= {name: c for c, names in enumerate(group_buffers(model, groups)) for name in names}
    head = len(groups) - 1
    before = tensors(model)
    assert column.keys() == before.keys()

    def moved():
        return {
            column[name] for name, value in tensors(model).items() if not torch.equal(value, before[name])
        }

    next(records)
    assert moved() == {head}
    list(records)
    assert moved() == {head, head - 1, head - 2}


def test_a_group_frozen_again_keeps_its_bits(begin, backbone):
    model, records = begin((1, 2), (2, 0), lr=1e-2)
    next(records)
    frozen = [name for group in backbone().groups.backbone for name in group.parameters]
    frozen += [name for names in group_buffers(model, backbone().groups)[:-1] for name in names]
    before = tensors(model)
    list(records)
    after = tensors(model)
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["fc.weight"], after["fc.weight"])


def test_modes_are_right_again_after_each_validation(begin):
    model, records = begin((3, 2))
    modes = []
    for _ in records:
        modes.append([module.training for module in model.modules()])
    assert len(set(modes[0])) == 2
    assert modes == [modes[0]] * 3


def test_rates_in_the_records_are_those_of_the_timetable(begin, backbone):
    schedule = table(backbone().groups.names, (0.5, 0), (2, 2))
    records = list(begin((0.5, 0), (2, 2))[1])
    timetable = schedule.timetable(3)
    assert [record.rates for record in records] == [timetable.rates(end - 1) for end in timetable.epoch_ends]
    for record in records:
        trains = [rate is not None for rate in record.rates]
        assert [norm is not None for norm in record.grad_norms] == trains
        assert all(m >= n for m, n in zip(record.grad_norms_max, record.grad_norms, strict=True) if n)


def test_the_work_of_a_run_is_what_its_table_costs(begin, backbone):
    groups = backbone().groups
    records = list(begin((1.5, 0), (1.5, 2))[1])
    timetable = table(groups.names, (1.5, 0), (1.5, 2)).timetable(3)
    expected = run_work(timetable, groups.work_shares, n_train=24, n_val=12)
    assert records[-1].work == pytest.approx(expected)


# What repeats


def test_equal_seeds_give_equal_curves_and_weights_to_the_bit_and_others_do_not(begin):
    drops = {"drop_rate": 0.3, "drop_path_rate": 0.3}
    (one, first), (two, second), (three, third) = (
        begin((1, 0), (2, 5), seed=seed, drops=drops) for seed in (5, 5, 6)
    )
    curve = list(first)
    assert same_curve(curve, list(second))
    assert same_tensors(tensors(one), tensors(two))
    assert not same_curve(curve, list(third))
    assert not same_tensors(tensors(one), tensors(three))


def test_a_curve_does_not_depend_on_what_ran_before_nor_on_the_global_random_state(begin):
    drops = {"drop_rate": 0.5, "drop_path_rate": 0.5}
    torch.manual_seed(1)
    alone = list(begin((2, 5), drops=drops)[1])
    list(begin((1, 5), seed=9)[1])
    torch.manual_seed(2)
    random.seed(3)
    np.random.seed(4)  # noqa: NPY002 - the old global state is what is tested
    other = begin((1, 5), seed=8, drops=drops)[1]
    mixed = []
    for record in begin((2, 5), drops=drops)[1]:
        mixed.append(record)
        next(other, None)  # another run in between
        torch.rand(17)
    assert same_curve(alone, mixed)


def test_a_run_leaves_the_global_random_state_as_it_was(begin):
    def states():
        return torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    torch.manual_seed(1)
    before = states()
    for _ in begin((1, 0), (1, 5), drops={"drop_rate": 0.5})[1]:
        now = states()
        assert torch.equal(now[0], before[0])
        assert now[1:] == before[1:]


def test_dropout_differs_from_epoch_to_epoch(begin, monkeypatch):
    # One order, no views, rates so low that nothing is learned: only dropout can change the training loss.
    monkeypatch.setattr("autofreeze.views.order", lambda seed, epoch, n: np.arange(n))
    losses = []
    for rate in (0.0, 0.5):
        regime = Regime(batch_size=64, views="none")
        records = begin((3, 0), lr=1e-30, regime=regime, drops={"drop_rate": rate})[1]
        losses.append([record.train_loss for record in records])
    assert len(set(losses[0])) == 1
    assert len(set(losses[1])) == 3


# Breaking off and going on


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_run_goes_on_from_any_epoch_as_if_it_had_never_stopped(begin, tmp_path, optimizer, name):
    rows = [(1.5, 0), (1, 2), (0.5, 0), (1, 3)]  # thaws, freezes again and thaws again, off the epochs' grid
    regime = Regime(batch_size=8, optimizer=optimizer)
    given = {"name": name, "regime": regime, "drops": {"drop_rate": 0.3, "drop_path_rate": 0.3}}
    whole, records = begin(*rows, **given)
    unbroken = list(records)
    assert len(unbroken) == 4
    for stop in (1, 2, 3, 4):
        file = tmp_path / f"{stop}.pt"
        records = begin(*rows, **given, checkpoint=file)[1]
        for _ in range(stop):
            next(records)
        records.close()
        model, records = begin(*rows, **given, checkpoint=file)
        assert same_curve(list(records), unbroken)
        assert same_tensors(tensors(model), tensors(whole))


def test_a_run_that_is_stopped_after_every_epoch_is_the_unbroken_one(begin, tmp_path):
    rows, unbroken = [(1, 0), (2, 2)], list(begin((1, 0), (2, 2))[1])
    for told in (1, 2, 3):
        records = begin(*rows, checkpoint=tmp_path / "run.pt")[1]
        assert same_curve([next(records) for _ in range(told)], unbroken[:told])
        records.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.pt"]


# What a run can survive


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_run_that_explodes_ends_with_a_record_that_says_so(begin, optimizer):
    regime = Regime(batch_size=8, optimizer=optimizer)
    records = list(begin((5, 5), lr=1e30, regime=regime)[1])
    last = records[-1]
    assert last.last
    assert last.diverged.startswith(("non-finite loss at step", "non-finite gradient at step"))
    assert not last.is_finite
    assert np.isnan(last.value)
    assert why_unstable(last) == last.diverged
    assert not any(record.diverged or record.last for record in records[:-1])
    assert last.epoch < 4


def test_a_run_that_exploded_is_over_when_it_is_continued(begin, tmp_path):
    first = list(begin((5, 5), lr=1e30, checkpoint=tmp_path / "run.pt")[1])
    again = list(begin((5, 5), lr=1e30, checkpoint=tmp_path / "run.pt")[1])
    assert same_curve(first, again)


def test_a_batch_larger_than_the_data_is_one_step_an_epoch(begin):
    records = list(begin((2, 1), regime=Regime(batch_size=1000))[1])
    assert [(record.step, record.last) for record in records] == [(1, False), (2, True)]


def test_without_validation_images_a_run_is_trained_all_the_same(begin, examples, tmp_path):
    data = examples(n_val=0)
    records = list(begin((2, 1), data=data, checkpoint=tmp_path / "run.pt")[1])
    assert [record.n_val for record in records] == [0, 0]
    assert all(np.isnan(record.value) and np.isnan(record.val_loss) for record in records)
    assert not any(record.diverged for record in records)
    assert same_curve(list(begin((2, 1), data=data, checkpoint=tmp_path / "run.pt")[1]), records)


def test_a_run_learns_what_can_be_learned(begin, examples):
    records = list(begin((12, 5), lr=3e-3, data=examples(n_train=48, n_val=24))[1])
    assert records[-1].value > 0.8
    assert records[-1].train_loss < records[0].train_loss


# What a record says


def test_balanced_class_weights_and_smoothing_are_those_of_the_loss(begin, examples):
    labels = [0] * 12 + [1] * 8 + [2] * 4 + [0, 1, 2]
    data = examples(n_train=24, n_val=3, labels=labels)
    regime = Regime(batch_size=64, views="none", label_smoothing=0.2, class_weights="balanced")
    model, records = begin((1, 0), data=data, regime=regime)
    model.eval()  # the frozen part is in eval mode too, and the head has no mode
    pixels = (torch.from_numpy(data.images[:24]).float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        logits = model(pixels.permute(0, 3, 1, 2))
    weights = torch.tensor([24 / (3 * 12), 24 / (3 * 8), 24 / (3 * 4)])
    expected = F.cross_entropy(logits, torch.tensor(labels[:24]), weight=weights, label_smoothing=0.2)
    assert next(records).train_loss == pytest.approx(float(expected), rel=1e-5)


def test_balanced_weights_leave_out_a_class_without_training_images(begin, examples):
    labels = [0] * 18 + [1] * 6 + [0, 1, 2]
    data = examples(n_train=24, n_val=3, labels=labels)
    losses = {}
    for weights in ("none", "balanced"):
        regime = Regime(batch_size=64, views="none", label_smoothing=0.2, class_weights=weights)
        model, records = begin((1, 0), data=data, regime=regime)
        if weights == "none":
            model.eval()
            pixels = (torch.from_numpy(data.images[:24]).float() / 255 - 0.5) / 0.5
            with torch.no_grad():
                logits = model(pixels.permute(0, 3, 1, 2))
        losses[weights] = next(records).train_loss
    present = compute_class_weight("balanced", classes=np.arange(2), y=np.array(labels[:24]))
    weight = torch.tensor([*present, 1.0], dtype=torch.float32)
    targets = torch.tensor(labels[:24])
    expected = float(F.cross_entropy(logits, targets, weight=weight, label_smoothing=0.2))
    assert losses["balanced"] == pytest.approx(expected, rel=1e-5)
    plain = float(F.cross_entropy(logits, targets, label_smoothing=0.2))
    assert losses["none"] == pytest.approx(plain, rel=1e-5)
    assert abs(expected - plain) > 1e-3


def test_log_loss_keeps_each_images_loss_at_the_last_epoch_and_other_metrics_none(begin, examples):
    data = examples(n_val=15)
    model, records = begin((2, 5), data=data, metric="log_loss")
    first, last = list(records)
    predicted, losses = evaluate(model, data, data.val, torch.device("cpu"))
    assert first.losses == ""
    assert unpack_losses(last.losses) == pytest.approx(losses, rel=1e-3)
    assert last.value == pytest.approx(np.exp(-losses.mean()))
    assert last.predicted_classes.tolist() == predicted.tolist()
    _, others = begin((1, 5), data=data, metric="macro_f1")
    assert [record.losses for record in others] == [""]


def test_a_metric_over_classes_is_refused_before_training_on_one_class(begin, examples):
    data = examples(n_train=24, n_val=3, labels=[0, 1, 2] * 8 + [1] * 3)
    model, records = begin((1, 5), data=data, metric="macro_f1")
    before = tensors(model)
    with pytest.raises(ConfigError, match="macro_f1 needs two classes"):
        next(records)
    assert all(torch.equal(before[name], value) for name, value in tensors(model).items())
    _, records = begin((1, 5), data=data, metric="top1")
    assert len(list(records)) == 1


def test_validation_is_without_smoothing_weights_or_flips_and_in_order(begin, examples):
    data = examples(n_val=15)
    regime = Regime(batch_size=8, label_smoothing=0.3, class_weights="balanced")
    model, records = begin((1, 5), data=data, regime=regime)
    record = list(records)[-1]
    model.eval()
    pixels = (torch.from_numpy(data.images[data.val]).float() / 255 - 0.5) / 0.5
    labels = torch.from_numpy(data.labels[data.val])
    with torch.no_grad():
        logits = model(pixels.permute(0, 3, 1, 2))
    assert record.predicted_classes.tolist() == logits.argmax(1).tolist()
    assert record.value == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    assert record.val_loss == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-4)


def test_balanced_accuracy_is_scikit_learns(begin, examples):
    labels = [0, 1, 2] * 8 + [0] * 9 + [1] * 4 + [2] * 2
    data = examples(n_train=24, n_val=15, labels=labels)
    model, records = begin((2, 5), data=data, metric="balanced_accuracy")
    value = list(records)[-1].value
    predicted, _ = evaluate(model, data, data.val, torch.device("cpu"))
    assert value == pytest.approx(balanced_accuracy_score(data.labels[data.val], predicted))


def test_norm_eval_keeps_every_running_statistic(begin):
    model, records = begin((2, 5), regime=Regime(batch_size=8, norm="eval"))
    before = {name: value.clone() for name, value in model.named_buffers()}
    list(records)
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


@pytest.mark.real
def test_a_few_steps_on_real_photos_hold_the_frozen_part_still_and_learn(real_data, tmp_path):
    loaded = load_backbone(
        "mobilenetv2_100",
        weights=real_data / "weights/mobilenetv2_100.imagenet.fp16.safetensors",
        image_size=64,
    )
    dataset = open_dataset(str(real_data / "hymenoptera2"), seed=0)
    store = open_decoded_store(dataset, loaded.preprocessing, cache_folder=tmp_path)
    split = scoring_splits(dataset.labels, dataset.train, dataset.val, seed=0, folds=1)[0]
    data = Examples(
        images=store.images,
        labels=dataset.labels,
        n_classes=2,
        train=split.train[::3],
        val=split.val[::2],
        preprocessing=loaded.preprocessing,
    )
    model = loaded.build(2, seed=0)
    before = tensors(model)
    columns = Columns.of(model, loaded.groups)
    schedule = table(loaded.groups.names, (1, 0), (1, 1), lr=3e-3)
    records = list(fit(model, columns, schedule, Regime(batch_size=16), data, seed=0))
    frozen = [name for group in loaded.groups.groups[:-2] for name in group.parameters]
    frozen += [name for names in group_buffers(model, loaded.groups)[:-2] for name in names]
    after = tensors(model)
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert records[-1].train_loss < records[0].train_loss
    assert records[-1].value > 0.55


def test_an_epoch_is_compared_with_the_start_of_the_phase_that_it_begins_in(begin, examples):
    _, run = begin((1.5, 0), (1.5, 2), data=examples(n_train=80))  # the thaw falls into the second epoch
    first, across, after = (record.phase_start_loss for record in run)
    assert across == first
    assert after != first


def test_a_thaw_within_an_epoch_is_no_loss_spike(begin, examples):
    # The head learns most before the thaw: the epoch's mean is far above what the next phase starts with.
    _, run = begin((0.8, 0), (2.2, 2), lr=3e-2, data=examples(n_train=240), curve={"curve": "constant"})
    record = next(run)
    assert record.train_loss < record.phase_start_loss
    assert why_unstable(record) == ""


def test_the_share_of_training_images_that_were_right_is_counted_by_image(begin, examples):
    own = examples(n_train=20)
    model, run = begin((1.0, 0), lr=1e-30, data=own, regime=Regime(batch_size=8, views="none"))
    (record,) = run
    predicted, _ = evaluate(model, own, own.train, torch.device("cpu"))
    assert record.train_top1 == pytest.approx(np.mean(predicted == own.labels[own.train]))
