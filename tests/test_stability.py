"""Stability: what is seen of a run, when it counts, and that looking changes nothing."""

import itertools
import math

import numpy as np
import pytest
import torch

from autofreeze.binding import Columns
from autofreeze.cost import run_work
from autofreeze.engine import Engine
from autofreeze.fused import fit_heads
from autofreeze.job import EpochRecord, Member, Thaw
from autofreeze.recipes import gradual, linear_probe
from autofreeze.regime import Regime
from autofreeze.scoring import joined
from autofreeze.stability import BOUNDS, KINDS, POINT, WINDOW, Bounds, Watch, kind_of, why_unstable
from autofreeze.training import fit

OFF = Bounds(*(None,) * 6)
"""Bounds by which nobody is judged."""


@pytest.fixture
def train(backbone, examples):
    """``train(epochs, lr, ...)``: the records of a run on 24 images, in three steps an epoch."""

    def make(
        epochs=5.0, lr=1e-3, *, warmup=1.0, depth=None, name="test_resnet", optimizer="adamw", n_val=24,
        data=None, whole=True, bounds=OFF, stop=None, ratio=1.0, curve="cosine", norm="follow", **fitting,
    ):  # fmt: skip
        loaded = backbone(name)
        model = loaded.build(3, seed=0)
        schedule = gradual(
            loaded.groups.names, epochs, head_lr=lr, backbone_ratio=ratio, warmup_epochs=warmup,
            unfreeze_depth="all" if depth is None else depth,
        ).model_copy(update={"curve": curve})  # fmt: skip
        engine = None if whole else Engine(loaded, 3, torch.device("cpu"))
        regime = Regime(batch_size=8, optimizer=optimizer, norm=norm)
        run = fit(
            model, Columns.of(model, loaded.groups), schedule, regime, data or examples(24, n_val), seed=0,
            engine=engine, watch=Watch(bounds), **fitting,
        )  # fmt: skip
        return list(itertools.islice(run, stop))

    return make


def judged(records, bounds=BOUNDS):
    """Why a run is unstable at the first record that says so; empty where none does."""
    reasons = (why_unstable(one, records[:place], bounds) for place, one in enumerate(records))
    return next((reason for reason in reasons if reason), "")


# Runs that trip a detector, and runs that do not


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_a_loss_that_runs_away_ends_the_run_within_the_epoch(train, optimizer, warmup):
    records = train(lr=10.0, warmup=warmup, optimizer=optimizer, bounds=BOUNDS)
    end = records[-1]
    assert kind_of(end.diverged) == "loss spike"
    assert f"at step {end.step - 1}:" in end.diverged
    assert end.last
    assert end.step < 10  # of 15
    assert math.isnan(end.value)
    whole = train(lr=10.0, warmup=warmup, optimizer=optimizer)
    assert end.work < whole[-1].work * 0.6
    assert max(one.train_loss for one in whole) > 3 * whole[0].thaws[0].loss


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("warmup", [0.0, 1.0])
@pytest.mark.parametrize("lr", [1e-3, 3e-2])
def test_a_healthy_run_goes_on_to_its_end(train, optimizer, warmup, lr):
    records = train(lr=lr, warmup=warmup, optimizer=optimizer, bounds=BOUNDS)
    assert len(records) == 5
    assert judged(records) == ""


TRIPPED = {
    "gradient spike": Bounds(None, gradient_spike=10.0, below_head=None),
    "gradient too large for the weights": Bounds(None, gradient_ratio=5.0, below_head=None),
    "head norm": Bounds(None, below_head=None, head_norm=10.0),
}
"""Detectors that judge nobody by themselves, each alone."""


@pytest.mark.parametrize(("kind", "bounds"), TRIPPED.items(), ids=TRIPPED)
def test_every_other_signal_ends_a_ruined_run_where_it_has_a_bound_and_no_healthy_one(train, kind, bounds):
    lr, optimizer, warmup = (10.0, "sgd", 0.0) if "spike" in kind else (30.0, "adamw", 1.0)
    ruined = train(lr=lr, warmup=warmup, optimizer=optimizer, bounds=bounds)
    # Nobody ends this run at its first sign, which may be another: validation that overflows.
    assert kind in {kind_of(why_unstable(one, ruined[:place], bounds)) for place, one in enumerate(ruined)}
    healthy = train(lr=3e-2, optimizer=optimizer, bounds=bounds)
    assert judged(healthy, bounds) == ""


def test_features_that_have_moved_far_end_a_run_where_there_is_a_bound(train):
    bounds = Bounds(None, below_head=None, drift=0.3)
    moved = train(lr=0.3, warmup=0.0, bounds=bounds)  # by .6 and more
    assert kind_of(judged(moved, bounds)) == "features adrift"
    still = train(lr=1e-4, warmup=0.0, norm="eval", bounds=bounds)  # by a hundredth
    assert judged(still, bounds) == ""


def test_a_thaw_that_costs_what_the_head_had_learned_is_told(train, examples):
    # Enough images for a difference to be told; the backbone's rate is 300 times the head's, and stays.
    data = examples(48, 90)
    ruined = train(7.0, lr=1e-2, warmup=4.0, ratio=300.0, data=data, curve="constant")
    reason = judged(ruined)
    assert kind_of(reason) == "below the head alone"
    head = ruined[3]
    assert head.drift == 0.0
    assert f"{head.value:.3f} ±" in reason
    told = next(one for one in ruined if f"in epoch {one.epoch}," in reason)
    assert max(ruined[told.epoch - 1].value, told.value) < head.value - 0.2  # in two epochs on end
    healthy = train(7.0, lr=1e-2, warmup=4.0, ratio=0.1, data=data, curve="constant")
    assert judged(healthy) == ""
    assert healthy[-1].value > head.value - 0.2
    at_once = train(7.0, lr=1e-2, warmup=0.0, ratio=300.0, data=data)  # there is nothing to compare with
    assert kind_of(judged(at_once)) != "below the head alone"


def test_a_run_that_has_come_to_its_end_keeps_its_value(train):
    records = train(1.0, lr=10.0, warmup=0.0)  # nobody watched its steps
    assert records[0].train_loss > 10 * records[0].thaws[0].loss
    end = records[0].model_copy(update={"phase_start_loss": 1.0})
    assert judged([end]) == ""
    assert kind_of(judged([end.model_copy(update={"last": False})])) == "loss spike"
    assert judged([records[0].model_copy(update={"value": math.nan})]) == "non-finite validation at epoch 0"


# By hand


def record(**changes):
    values = {
        "epoch": 3, "epochs_done": 4.0, "step": 40, "train_loss": 1.0, "phase_start_loss": 1.0,
        "val_loss": 0.5, "value": 0.9, "predicted": "", "n_val": 100, "rates": (1.0, 1.0),
        "grad_norms": (1.0, 1.0), "grad_norms_max": (1.0, 1.0), "work": 1.0, "seconds": 1.0,
        "epochs_since_unfreeze": 1.0,
    }  # fmt: skip
    return EpochRecord(**{**values, **changes})


def thaw(step=0, columns=(0, 1), loss=1.0, norms=(1.0, 1.0)):
    return Thaw(step=step, columns=columns, loss=loss, grad_norms=norms, weight_norms=norms)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"diverged": "non-finite loss at step 7"}, "non-finite loss at step 7"),
        ({"diverged": "loss spike at step 7: …", "last": True}, "loss spike at step 7: …"),
        ({"value": math.nan}, "non-finite validation at epoch 3"),
        ({"val_loss": math.nan}, "non-finite validation at epoch 3"),
        ({"val_loss": math.inf}, "non-finite validation at epoch 3"),
        ({"train_loss": 10.0}, ""),
        (
            {"train_loss": 10.1},
            "loss spike: 10.1 in epoch 3, 1 at the start; 10 times as much is the most",
        ),
        ({"train_loss": 10.1, "last": True}, ""),
        ({"train_loss": -1.0, "phase_start_loss": -1.0}, ""),  # a loss of another kind
        ({"train_loss": math.nan, "phase_start_loss": math.nan}, ""),  # one that nobody knows
        # The run's first step tells more than the phase's first steps, and the higher one of both counts.
        ({"train_loss": 10.1, "thaws": (thaw(loss=1.1),)}, ""),
        ({"train_loss": 10.1, "thaws": (thaw(loss=0.9),)}, "loss spike: 10.1 in epoch 3, 1 at the start; "
         "10 times as much is the most"),
        ({"drift": 1.9, "weight_norms": (1e3, 1e3), "grad_norms_max": (1e6, 1e6)}, ""),
    ],
)  # fmt: skip
def test_a_record_says_whether_its_run_is_unstable(changes, words):
    assert why_unstable(record(**changes)) == words


def test_a_record_without_signals_judges_nobody_by_them():
    bounds = Bounds(None, below_head=1e-6, drift=1e-6, head_norm=1e-6)
    run = [record(value=0.9), record(value=0.1)]
    assert judged(run, bounds) == ""


def thawed(head, *values, steps=10, n_val=100):
    """A head alone for an epoch, then the backbone too."""
    run = [record(value=head, n_val=n_val, step=steps, thaws=(thaw(columns=(1,)),))]
    run += [record(value=one, n_val=n_val, step=steps * (i + 2)) for i, one in enumerate(values)]
    return [run[0], run[1].model_copy(update={"thaws": (thaw(steps, columns=(0,)),)}), *run[2:]]


@pytest.mark.parametrize(
    ("head", "n_val", "lowest"),
    [(0.9, 100, 0.9 - 3 * 0.0309), (0.5, 10**8, 0.5 - POINT), (1.0, 8, 1 - 3 * 0.1061)],
)
def test_the_head_alone_is_passed_below_by_three_errors_and_a_point(head, n_val, lowest):
    assert judged(thawed(head, *[lowest + 0.001] * 2, n_val=n_val)) == ""
    assert kind_of(judged(thawed(head, *[lowest - 0.001] * 2, n_val=n_val))) == "below the head alone"


def test_one_bad_epoch_after_a_thaw_is_no_ruin():
    assert judged(thawed(0.9, 0.5, 0.9, 0.5, 0.9)) == ""
    assert kind_of(judged(thawed(0.9, 0.9, 0.9, 0.5, 0.5))) == "below the head alone"


def test_statistics_are_given_time_to_follow():
    assert judged(thawed(0.9, *[0.5] * 4, steps=2)) == ""
    assert kind_of(judged(thawed(0.9, *[0.5] * 5, steps=2))) == "below the head alone"


def test_a_value_that_is_no_share_is_not_compared_with_the_head():
    assert judged(thawed(-3.0, -9.0, -9.0)) == ""


def looked(watch, losses, norms=None, phase=0, first=0):
    """Steps at which a watch complains, and what it says."""
    norms = [(1.0, 1.0)] * len(losses) if norms is None else norms
    told = [watch.look(first + i, phase, *both) for i, both in enumerate(zip(losses, norms, strict=True))]
    return {first + i: kind_of(reason) for i, reason in enumerate(told) if reason}


def test_a_spike_is_the_mean_of_five_steps_and_not_one():
    assert looked(Watch(), [0.84, 7.64, 1.42, 5.48, 2.86]) == {}  # a head at a healthy rate begins so
    assert looked(Watch(), [1.0, 40.0, 1.0, 1.0, 1.0]) == {}
    assert looked(Watch(), [1.0, 15.0, 15.0, 15.0]) == {}
    assert looked(Watch(), [1.0, 15.0, 15.0, 15.0, 15.0]) == {4: "loss spike"}
    assert looked(Watch(), [0.01, 0.2, 0.2, 0.2, 0.2]) == {4: "loss spike"}


def test_a_spike_is_measured_by_the_higher_of_the_runs_start_and_the_phases():
    watch = Watch()
    looked(watch, [1.0, *[0.1] * 9])
    assert looked(watch, [0.1, *[9.9] * 9], phase=1, first=10) == {}
    watch = Watch()
    looked(watch, [1.0] * 9)
    assert looked(watch, [2.0, *[19.0] * 9], phase=1, first=9) == {}  # BatchNorm set moving by the thaw
    watch = Watch()
    looked(watch, [1.0] * 9)
    assert looked(watch, [1.0, *[19.0] * 9], phase=1, first=9)


def test_gradients_are_compared_within_their_phase():
    watch = Watch(Bounds(None, gradient_spike=5.0))
    assert looked(watch, [1.0] * 6, [(None, 1.0)] * 6) == {}
    assert looked(watch, [1.0] * 6, [(100.0, 1.0)] * 6, phase=1, first=6) == {}  # columns came in
    assert looked(watch, [1.0], [(501.0, 1.0)], phase=1, first=12) == {12: "gradient spike"}


def test_a_gradient_is_compared_with_the_weights_as_they_were_weighed_last():
    watch = Watch(Bounds(None, gradient_ratio=2.0))
    assert looked(watch, [1.0], [(9.0, 9.0)]) == {}  # not weighed yet
    watch.weigh((4.0, 1.0))
    assert looked(watch, [1.0], [(8.0, 9.0)]) == {}  # the head is no backbone column
    assert looked(watch, [1.0], [(8.1, 9.0)]) == {0: "gradient too large for the weights"}
    watch.weigh((5.0, 1.0))
    assert looked(watch, [1.0, 1.0], [(8.1, 9.0), (None, 9.0)]) == {}


def test_every_reason_has_its_kind():
    assert [kind_of(f"{kind} at step 7: …") for kind in KINDS] == list(KINDS)
    assert kind_of("behind the best by 3 points") is None


@pytest.mark.parametrize("cut", range(1, 13))
def test_a_watch_that_is_restored_says_the_same(cut):
    bounds = Bounds(3.0, 5.0, 2.0)
    rng = np.random.default_rng(0)
    losses = [*rng.uniform(0.5, 1.5, 9), *[40.0] * 4]
    norms = [(float(a), float(b)) for a, b in rng.uniform(0.5, 1.5, (13, 2))]
    whole, before, after = Watch(bounds), Watch(bounds), Watch(bounds)
    for watch in (whole, before):
        watch.weigh((1.0, 1.0))
    expected = [whole.look(i, i // 4, losses[i], norms[i]) for i in range(13)]
    begun = [before.look(i, i // 4, losses[i], norms[i]) for i in range(cut)]
    after.restore(before.state())
    assert begun + [after.look(i, i // 4, losses[i], norms[i]) for i in range(cut, 13)] == expected
    assert any(expected)


# What is seen


FAMILIES = ["test_resnet", "test_vit", "mobilenetv3_small_050"]


@pytest.mark.parametrize("whole", [False, True], ids=["cut", "whole"])
@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_followed_in_every_family_cut_or_whole(train, name, whole):
    records = train(3.0, lr=1e-2, warmup=1.5, depth=2, name=name, whole=whole)
    assert records[0].drift == 0.0
    assert all(0 < one.drift <= 2 for one in records[1:])
    head_alone = train(2.0, depth=0, warmup=0.0, name=name, whole=whole)
    assert [one.drift for one in head_alone] == [0.0, 0.0]


@pytest.mark.parametrize("warmup", [0.0, 1.0, 1.5])
def test_drift_is_one_less_the_mean_cosine_with_the_pretrained_features(backbone, examples, warmup):
    loaded, data = backbone(), examples(24, 12)

    def features(model):
        model.eval()
        pixels = (torch.from_numpy(data.images[data.val]).float() / 255 - 0.5) / 0.5
        with torch.no_grad():
            return model.forward_head(
                model.forward_features(pixels.permute(0, 3, 1, 2)), pre_logits=True
            ).double()

    model = loaded.build(3, seed=0)
    before = features(model)
    schedule = gradual(loaded.groups.names, 2.0, head_lr=1e-2, warmup_epochs=warmup)
    *_, last = fit(model, Columns.of(model, loaded.groups), schedule, Regime(batch_size=8), data, seed=0)
    cosines = torch.nn.functional.cosine_similarity(features(model), before)
    assert last.drift == pytest.approx(1 - float(cosines.mean()), abs=1e-5)
    assert last.drift > 0.01


def test_a_run_without_validation_images_has_no_drift(train):
    assert [one.drift for one in train(2.0, n_val=0)] == [0.0, None]


def test_thaws_are_kept_with_the_step_before_its_update(train, backbone):
    records = train(3.0, lr=1e-2, warmup=1.34, depth=2)
    groups = backbone().groups.names
    head = len(groups) - 1
    assert [[(one.step, one.columns) for one in record.thaws] for record in records] == [
        [(0, (head,))], [(4, (head - 2, head - 1))], [],
    ]  # fmt: skip
    model = backbone().build(3, seed=0)
    parameters = dict(model.named_parameters())

    def norm(column):
        own = [parameters[name].detach().double() for name in backbone().groups.groups[column].parameters]
        return math.sqrt(sum(float((one**2).sum()) for one in own))

    first, second = records[0].thaws[0], records[1].thaws[0]
    assert first.weight_norms == (None,) * head + (pytest.approx(norm(head)),)
    assert second.weight_norms[head - 2 : head] == pytest.approx((norm(head - 2), norm(head - 1)))
    assert second.weight_norms[:-3] == (None,) * (head - 2)
    assert second.weight_norms[-1] != first.weight_norms[-1]
    assert not first.of_backbone
    assert second.of_backbone
    assert all(one is not None and one > 0 for one in second.grad_norms[-3:])
    assert first.loss == pytest.approx(math.log(3), abs=0.3)
    assert records[0].weight_norms[:-1] == (None,) * head
    assert all(one is not None for one in records[2].weight_norms[-3:])


def test_columns_that_train_again_do_not_thaw_anew(backbone, examples):
    from autofreeze.schedule import Phase, Schedule

    loaded = backbone()
    n = len(loaded.groups)

    def phase(depth):
        return Phase(epochs=1, lrs=tuple(1e-3 if i >= n - 1 - depth else None for i in range(n)))

    schedule = Schedule(groups=loaded.groups.names, phases=[phase(1), phase(0), phase(2)])
    model = loaded.build(3, seed=0)
    run = fit(model, Columns.of(model, loaded.groups), schedule, Regime(batch_size=8), examples(), seed=0)
    assert [[one.columns for one in record.thaws] for record in run] == [[(n - 2, n - 1)], [], [(n - 3,)]]


@pytest.mark.parametrize("warmup", [0.0, 1.5])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_run_that_goes_on_from_a_checkpoint_has_the_same_signals_to_the_bit(train, tmp_path, warmup, stop):
    bounds = Bounds(BOUNDS.loss_spike, 50.0, 50.0)
    unbroken = train(4.0, lr=1e-2, warmup=warmup, bounds=bounds)
    file = tmp_path / "rolling.pt"
    train(4.0, lr=1e-2, warmup=warmup, bounds=bounds, stop=stop, checkpoint=file)
    again = train(4.0, lr=1e-2, warmup=warmup, bounds=bounds, checkpoint=file)
    assert all(one.same_as(other) for one, other in zip(again, unbroken, strict=True))
    assert again[-1].drift > 0


def test_a_run_that_its_watch_ended_is_over_when_it_is_continued(train, tmp_path):
    file = tmp_path / "rolling.pt"
    first = train(lr=10.0, bounds=BOUNDS, checkpoint=file)
    again = train(lr=10.0, bounds=BOUNDS, checkpoint=file)
    assert kind_of(first[-1].diverged) == "loss spike"
    assert all(one.same_as(other) for one, other in zip(first, again, strict=True))


def test_looking_is_no_work(train, backbone):
    groups = backbone().groups
    (record,) = train(1.0, warmup=0.0, n_val=12)
    timetable = gradual(groups.names, 1.0, head_lr=1e-3).timetable(3)
    assert record.work == pytest.approx(run_work(timetable, groups.work_shares, n_train=24, n_val=12))


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_being_looked_at_changes_not_one_bit_of_a_model(backbone, examples, monkeypatch, name):
    from autofreeze import training

    def trained():
        loaded = backbone(name)
        model = loaded.build(3, seed=0, drop_rate=0.3)
        schedule = gradual(loaded.groups.names, 3.0, head_lr=1e-2, warmup_epochs=0.5)
        list(fit(model, Columns.of(model, loaded.groups), schedule, Regime(batch_size=8), examples(), seed=0))
        return model.state_dict()

    seen = trained()
    monkeypatch.setattr(training.Signals, "needs_reference", False)  # no features are seen before the thaw
    unseen = trained()
    assert all(torch.equal(seen[name], unseen[name]) for name in seen)


# Heads of a sweep


def test_each_head_of_a_sweep_is_watched_by_itself(backbone, examples):
    loaded = backbone()
    groups, data = loaded.groups.names, examples(48, 24)
    regime = Regime(batch_size=8)
    heads = [
        Member(schedule=linear_probe(groups, 3.0, head_lr=lr), regime=regime) for lr in (1e-2, 30.0, 3e-3)
    ]
    model = loaded.build(3, seed=0)
    records = list(fit_heads(model, Columns.of(model, loaded.groups), heads, data, seed=0))
    assert len(records) == 3
    for place, head in enumerate(heads):
        own = loaded.build(3, seed=0)
        alone = list(fit(own, Columns.of(own, loaded.groups), head.schedule, regime, data, seed=0))
        member = records[len(alone) - 1].members[place]
        assert kind_of(member.diverged) == kind_of(alone[-1].diverged)
        assert member.step == alone[-1].step
        assert bool(member.diverged) is (place == 1)
    assert records[-1].members[1] == records[0].members[1]  # it was trained no further
    assert records[0].members[1].step == WINDOW


def test_an_unstable_head_of_a_sweep_stays_out_when_the_sweep_goes_on(backbone, examples, tmp_path):
    loaded, data, file = backbone(), examples(24, 24), tmp_path / "rolling.pt"
    heads = [
        Member(
            schedule=linear_probe(loaded.groups.names, 4.0, head_lr=lr), regime=Regime(batch_size=8)
        )
        for lr in (1e-2, 30.0, 3e-3)
    ]  # fmt: skip

    def sweep(**kept):
        model = loaded.build(3, seed=0)
        return fit_heads(model, Columns.of(model, loaded.groups), heads, data, seed=0, **kept)

    unbroken = list(sweep())
    assert unbroken[0].members[1].diverged == ""  # three steps are too few to tell
    list(itertools.islice(sweep(checkpoint=file), 1))
    again = list(sweep(checkpoint=file))
    assert kind_of(again[-1].members[1].diverged) == "loss spike"
    assert all(one.same_as(other) for one, other in zip(again, unbroken, strict=True))


def test_a_sweep_whose_heads_are_all_unstable_breaks_off_with_the_reason():
    heads = [record(train_loss=99.0, value=value, last=False) for value in (0.5, 0.6)]
    one = joined(heads, [0, 1], work=1.0, seconds=1.0)
    assert one.last
    assert kind_of(one.diverged) == "loss spike"
    assert kind_of(why_unstable(one)) == "loss spike"
    sound = joined([heads[0], record(value=0.1)], [0, 1], work=1.0, seconds=1.0)
    assert (sound.last, sound.diverged, sound.value) == (False, "", 0.1)
