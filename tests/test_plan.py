"""The plan of a search: arithmetic that can be done by hand, and a measurement that changes nothing."""

import io

import pytest
import torch
from rich.console import Console

from autofreeze import api
from autofreeze.display import Display
from autofreeze.forecast import forecast, measure
from autofreeze.plan import Pace, Sizes, make_plan, trial_seconds
from autofreeze.recipes import full, gradual, linear_probe
from autofreeze.records import read_records
from autofreeze.regime import Regime
from autofreeze.report.plan import plan_lines
from autofreeze.report.words import roughly
from autofreeze.space import SpaceSpec
from autofreeze.task import Task
from autofreeze.trial import Workbench

GROUPS = ("stem", "layer1", "layer2", "head")
SHARES = (0.5, 0.2, 0.2, 0.1)
PACE = Pace(head_image=1.0, whole_image=10.0, val_image=0.5, head_epoch=3.0, whole_epoch=12.0, run=7.0)
SIZES = Sizes(n_train=64, n_val=20, folds=1)
REGIME = Regime(batch_size=32)
PROBE = linear_probe(GROUPS, 2, head_lr=1e-3)
WHOLE = full(GROUPS, 2, head_lr=1e-3)


def seconds(schedule, sizes=SIZES, regime=REGIME):
    return trial_seconds(schedule, regime, PACE, SHARES, sizes)


def test_a_linear_probe_and_full_fine_tuning_cost_what_was_measured():
    assert seconds(PROBE) == pytest.approx(7 + 2 * (64 * 1.0 + 20 * 0.5 + 3))
    assert seconds(WHOLE) == pytest.approx(7 + 2 * (64 * 10.0 + 20 * 0.5 + 12))


def test_a_step_in_between_costs_in_proportion_to_the_work_that_the_backward_pass_runs_through():
    upper = full(GROUPS, 2, head_lr=1e-3, unfreeze_depth=2)
    depth = (0.5 - 0.1) / (1 - 0.1)
    assert seconds(upper) == pytest.approx(7 + 2 * (64 * (1 + 9 * depth) + 10 + 3 + 9 * depth))
    assert seconds(full(GROUPS, 2, head_lr=1e-3, freeze_stem=True)) == seconds(upper)


def test_each_phase_counts_by_its_own_depth():
    half = gradual(GROUPS, 2, head_lr=1e-3, warmup_epochs=1)
    assert seconds(half) == pytest.approx((seconds(PROBE) + seconds(WHOLE)) / 2)


def test_folds_multiply_and_images_count_once_whatever_the_batch():
    assert seconds(WHOLE, Sizes(64, 20, 3)) == pytest.approx(3 * seconds(WHOLE))
    assert seconds(WHOLE, regime=Regime(batch_size=16)) == pytest.approx(seconds(WHOLE))


def plan(trials=10):
    return make_plan(
        PACE, SHARES, SIZES, epochs=2, trials=trials,
        baselines={"linear_probe": (PROBE, REGIME), "full": (WHOLE, REGIME)},
        draws=[(PROBE, REGIME), (WHOLE, REGIME)],
    )  # fmt: skip


def test_a_search_costs_its_baselines_and_an_average_draw_for_every_other_trial():
    both = seconds(PROBE) + seconds(WHOLE)
    assert plan().seconds == pytest.approx(both + 8 * both / 2)
    assert plan().most_seconds == pytest.approx(both + 8 * seconds(WHOLE))


def test_baselines_beyond_the_number_of_trials_are_not_counted():
    assert plan(1).baselines == {"linear_probe": pytest.approx(seconds(PROBE))}
    assert plan(1).seconds == plan(1).most_seconds == pytest.approx(seconds(PROBE))


def test_three_lines_say_what_it_costs_and_where_it_is_kept():
    lines = plan_lines(plan(), device="cpu", out="runs/a", seconds=600)
    assert len(lines) == 3
    assert lines[0] == (
        "plan: 10 trials × 1 fold × 2 epochs, training on 64 images and scored on 20 in a fold"
    )
    assert f"about {roughly(plan().seconds)} in all on cpu without pruning" in lines[1]
    assert "pruning makes it less" in lines[1]
    assert "runs/a" in lines[2]
    assert "--time ends it after 10 min" in lines[2]


@pytest.mark.parametrize(
    ("exact", "words"),
    [(0.004, "0.1 s"), (0.44, "0.4 s"), (7.4, "7 s"), (44, "40 s"), (57, "1 min"), (80, "1 min 30 s"),
     (600, "10 min"), (3590, "1 h"), (12_000, "3 h 20 min")],
)  # fmt: skip
def test_an_estimate_is_told_no_finer_than_it_is_known(exact, words):
    assert roughly(exact) == words


GIVEN = {
    "confirm": 0,
    "model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu", "epochs": 1, "folds": 1,
    "space": "quick",
}  # fmt: skip


@pytest.fixture(scope="module")
def bench(class_folders, tmp_path_factory):
    return Workbench.open(
        Task(data=str(class_folders), model="test_resnet", from_scratch=True, image_size=32, folds=1,
             device="cpu", cache_folder=str(tmp_path_factory.mktemp("cache")))
    )  # fmt: skip


def test_measuring_leaves_the_random_state_and_the_pretrained_tensors_as_they_were(bench):
    before = {name: tensor.clone() for name, tensor in bench.backbone.tensors.items()}
    state = torch.get_rng_state()
    pace = measure(bench, Regime())
    assert 0 < pace.head_image <= pace.whole_image
    assert pace.val_image > 0
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in bench.backbone.tensors.items():
        assert torch.equal(tensor, before[name])


def test_a_resumed_search_is_planned_for_what_is_left(bench):
    space = SpaceSpec.load("quick").resolve(bench.backbone.groups.names, 1)
    options = {"sampler": "tpe", "seed": 0, "trials": 20}
    whole = forecast(bench, space, ended=0, known=frozenset(), **options)
    assert whole.trials == 20
    assert list(whole.baselines) == ["linear_probe", "full", "lp_ft", "fastai"]
    rest = forecast(bench, space, ended=15, known=frozenset({"linear_probe", "full"}), **options)
    assert rest.trials == 5
    assert list(rest.baselines) == ["lp_ft", "fastai"]


def test_no_number_depends_on_the_plan_and_none_is_made_when_nothing_is_left(class_folders, tmp_path):
    def search(out, **more):
        stream = io.StringIO()
        display = Display(console=Console(file=stream, width=200))
        result = api.search(class_folders, out=tmp_path / out, trials=2, display=display, **GIVEN, **more)
        return result, stream.getvalue()

    with_plan, told = search("with")
    without = api.search(class_folders, out=tmp_path / "without", trials=2, **GIVEN)
    assert told.count("plan: ") == 3
    assert with_plan.plan.trials == 2
    assert without.plan is None
    curves = [read_records(tmp_path / name) for name in ("with", "without")]
    assert curves[0].keys() == curves[1].keys()
    for key, curve in curves[0].items():
        assert all(one.same_as(other) for one, other in zip(curve, curves[1][key], strict=True))
    again, told = search("with", resume=True)
    assert "plan: " not in told
    assert again.plan == with_plan.plan


def test_tuning_and_confirmation_are_part_of_what_is_planned():
    whole = plan().model_copy(update={"tuning": 20, "fresh_seeds": 12})
    assert whole.tuning_seconds == pytest.approx(20 * whole.draw)
    assert whole.confirmation_seconds == pytest.approx(12 * 6 * whole.draw / whole.folds)
    text = "\n".join(plan_lines(whole, device="cpu", out="runs/a"))
    assert "then 20 trials that tune baselines" in text
    assert "then about 6 schedules on up to 12 fresh seeds" in text
    assert "then" not in "\n".join(plan_lines(plan(), device="cpu", out="runs/a"))
