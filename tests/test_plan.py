"""The plan of a search: arithmetic done by hand, rehearsals, and a measurement that changes nothing."""

import inspect
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from autofreeze import api
from autofreeze.cli import main
from autofreeze.cli.plan import plan as plan_command
from autofreeze.cli.search import search as search_command
from autofreeze.courses import Ledger, Sizes, course_of, whole_run
from autofreeze.display import Display
from autofreeze.forecast import forecast
from autofreeze.outlook import Priced, expect
from autofreeze.pacing import measure
from autofreeze.phrases import roughly
from autofreeze.plan import Border, Pace, Plan
from autofreeze.recipes import full, gradual, linear_probe
from autofreeze.records import read_records
from autofreeze.regime import Regime
from autofreeze.rehearsal import Casting, Part, rehearse
from autofreeze.report.plan import plan_lines, range_words, show_plan
from autofreeze.results import StudyResult
from autofreeze.schedule import Phase, Schedule
from autofreeze.space import SpaceSpec
from autofreeze.task import Task
from autofreeze.trial import Workbench

GROUPS = ("stem", "layer1", "layer2", "head")
PACE = Pace(
    borders=(
        Border(name="stem", prefix=0, step=10, val=4, epoch=12, row_bytes=0),
        Border(name="layer1", prefix=2, step=6, val=2, epoch=9, row_bytes=300),
        Border(name="layer2", prefix=3, step=3, val=1, epoch=6, row_bytes=200),
        Border(name="head", prefix=4, step=0.5, val=0.25, epoch=3, row_bytes=100),
    ),
    run=7,
    setup=50,
)
SIZES = Sizes(n_train=64, n_val=20, folds=1, n_stored=84)
REGIME = Regime(batch_size=32, views="none")
PROBE = linear_probe(GROUPS, 2, head_lr=1e-3)
WHOLE = full(GROUPS, 2, head_lr=1e-3)
UPPER = full(GROUPS, 2, head_lr=1e-3, unfreeze_depth=2)


def course(schedule, regime=REGIME, pace=PACE, sizes=SIZES, **more):
    return course_of(schedule, regime, pace, sizes, **more)


def seconds(schedule, *, stored, regime=REGIME, pace=PACE):
    return whole_run(course(schedule, regime, pace), pace, SIZES, stored=stored)


# Seconds of a run


def test_a_run_costs_the_measured_seconds_of_its_steps_its_validation_and_its_epochs():
    assert seconds(WHOLE, stored=True) == seconds(WHOLE, stored=False) == 7 + 2 * (64 * 10 + 20 * 4 + 12)
    assert seconds(PROBE, stored=True) == 7 + 2 * (64 * 0.5 + 20 * 0.25 + 3)
    assert seconds(PROBE, stored=False) == seconds(PROBE, stored=True) + 2 * (64 + 20) * 4
    assert seconds(UPPER, stored=True) == 7 + 2 * (64 * 6 + 20 * 2 + 9)


def test_each_phase_counts_by_its_own_border_and_validation_by_that_at_its_end():
    half = gradual(GROUPS, 2, head_lr=1e-3, warmup_epochs=1)
    assert seconds(half, stored=True) == pytest.approx(
        (seconds(PROBE, stored=True) + seconds(WHOLE, stored=True)) / 2
    )
    late = gradual(GROUPS, 2, head_lr=1e-3, warmup_epochs=1.5)
    assert seconds(late, stored=True) - seconds(half, stored=True) == pytest.approx(-32 * (10 - 0.5))


def test_what_has_trained_stays_above_the_border_when_it_is_frozen_again():
    down = Schedule(
        groups=GROUPS,
        phases=(Phase(epochs=1, lrs=(None, 1e-3, 1e-3, 1e-3)), Phase(epochs=1, lrs=(None, None, None, 1e-3))),
    )
    # The head's own step, and the forward pass of what had trained before.
    assert seconds(down, stored=True) == 7 + (64 * 6 + 20 * 2 + 9) + (64 * (0.5 + 2 - 0.25) + 20 * 2 + 9)


def test_a_column_that_the_gradient_only_passes_through_costs_a_third_less():
    block = Schedule(groups=GROUPS, phases=(Phase(epochs=2, lrs=(None, 1e-3, None, 1e-3)),))
    assert seconds(block, stored=True) == pytest.approx(seconds(UPPER, stored=True) - 2 * 64 * (3 - 0.5) / 3)


def test_a_store_is_filled_once_for_all_runs_of_a_search_and_not_where_it_is_there_already():
    probe = course(PROBE)
    ledger = Ledger(PACE, SIZES)
    first, second = ledger.run(probe, 2), ledger.run(probe, 2)
    assert first - second == pytest.approx(84 * 4)
    warm = Ledger(PACE, SIZES, there=frozenset({(3, "plain")}))
    assert warm.run(probe, 2) == second


@pytest.mark.parametrize(("views", "filled"), [("none", 1), ("flip", 2), ("bank:4", 5)])
def test_each_view_is_filled_once_and_the_plain_one_for_validation(views, filled):
    probe = course(PROBE, replace_views(views))
    ledger = Ledger(PACE, SIZES)
    first = ledger.run(probe, 2)
    assert first - ledger.run(probe, 2) == pytest.approx(filled * 84 * 4)


def replace_views(views):
    return REGIME.model_copy(update={"views": views})


def test_views_that_never_repeat_are_computed_anew_and_only_validation_reads_a_store():
    online = course(PROBE, replace_views("online"))
    assert whole_run(online, PACE, SIZES, stored=True) == seconds(PROBE, stored=True) + 2 * 64 * 4


def test_what_does_not_fit_the_budget_or_is_not_worth_it_is_computed_anew():
    probe = course(PROBE)
    small = Ledger(PACE, SIZES, budget_bytes=84 * 100 - 1)
    small.run(probe, 2)
    assert small.run(probe, 2) == seconds(PROBE, stored=False)
    borders = (*PACE.borders[:-1], PACE.borders[-1].model_copy(update={"unstored": "reading takes longer"}))
    slow = PACE.model_copy(update={"borders": borders})
    assert seconds(PROBE, stored=True, pace=slow) == seconds(PROBE, stored=False)


def test_a_model_that_cannot_be_cut_runs_whole_with_the_cache_and_without():
    borders = tuple(one.model_copy(update={"refusal": "no"} if one.prefix else {}) for one in PACE.borders)
    uncut = PACE.model_copy(update={"borders": borders})
    assert seconds(PROBE, stored=True, pace=uncut) == seconds(PROBE, stored=False, pace=uncut)
    assert seconds(PROBE, stored=True, pace=uncut) == seconds(PROBE, stored=False)


def test_a_border_is_cut_once_and_the_heads_was_by_measuring():
    ledger = Ledger(PACE, SIZES, stores=False)
    upper = course(UPPER)
    assert ledger.run(upper, 2) - ledger.run(upper, 2) == 50
    assert ledger.run(course(PROBE), 2) == ledger.run(course(PROBE), 2)


def test_an_ended_run_costs_the_epochs_that_it_ran():
    ledger = Ledger(PACE, SIZES, stores=False)
    whole = course(WHOLE)
    assert ledger.run(whole, 1) == 7 + (ledger.run(whole, 2) - 7) / 2


# Rehearsals

PARTS = [
    Part("freeze_first", 0.0, 8),
    Part("at_once", 1.0, 8),
    Part("freeze_first", 0.6, 8, 4),
    Part("at_once", 0.3, 8),
]
CASTING = Casting(PARTS[:2], PARTS, 30, 3, 100, arms=("freeze_first", "at_once"), planned=12)


def rehearsals(casting, n=20):
    rng = np.random.default_rng(0)
    return [rehearse(casting, rng) for _ in range(n)]


def test_baselines_come_first_and_end_between_folds_alone():
    ended = 0
    for one in rehearsals(replace(CASTING, baselines=PARTS * 2)):
        assert [ran.part for ran in one.trials[:8]] == list(range(8))
        assert all(set(ran.epochs) == {8} for ran in one.trials[:8])
        assert len(one.trials) == 30
        ended += sum(len(ran.epochs) < 3 for ran in one.trials[:8])
    assert 0 < ended < 8 * 20


def test_of_many_draws_no_more_than_a_good_third_is_run_on_a_second_fold():
    # Never pruned within a run: all thaw in the last epoch. Of the first ones more go on than a third.
    late = [Part("at_once", place / 3, 8, 7) for place in range(4)]
    casting = Casting([], late, 120, 3, 100, steered=False)
    shares = [sum(len(ran.epochs) > 1 for ran in one.trials) / 120 for one in rehearsals(casting)]
    assert 0.3 < sum(shares) / len(shares) < 0.42


def test_draws_end_early_no_sooner_than_the_rules_allow_and_none_where_nothing_is_pruned():
    parts = [*CASTING.baselines, *PARTS]
    epochs = [ran for one in rehearsals(CASTING) for ran in one.trials[2:]]
    for ran in epochs:
        assert all(count >= parts[ran.part].judged_from for count in ran.epochs)
        assert all(count == 8 for count in ran.epochs[:-1])
    assert any(ran.epochs[-1] < 8 for ran in epochs)
    assert any(ran.epochs in ((8,), (8, 8)) for ran in epochs)
    for one in rehearsals(replace(CASTING, prune=False)):
        assert all(ran.epochs == (8, 8, 8) for ran in one.trials)


def test_a_run_is_not_held_against_others_that_have_never_been_as_long_after_their_thaw():
    def ended(thaw):
        late = [Part("at_once", 0.5, 8, thaw)] * 8
        casting = Casting(late, [Part("at_once", 0.5, 8)], 9, 1, 2000)
        return sum(one.trials[-1].epochs[0] < 8 for one in rehearsals(casting, 40))

    assert ended(7) == 0
    assert ended(0) > 0


def test_the_more_images_are_scored_the_more_is_ended_early():
    def run(n_val):
        many = rehearsals(replace(CASTING, n_val=n_val), 40)
        return sum(sum(ran.epochs) for one in many for ran in one.trials)

    assert run(2000) < run(100) < run(20)


def test_each_arm_gets_a_third_of_the_trials_at_least():
    parts = [*CASTING.baselines, *PARTS]
    for one in rehearsals(CASTING):
        first = sum(parts[ran.part].arm == "freeze_first" for ran in one.trials)
        assert 10 <= first <= 20


def test_a_confirmation_has_two_of_each_arm_at_least_and_no_more_seeds_than_planned():
    parts = [*CASTING.baselines, *PARTS]
    for one in rehearsals(CASTING):
        arms = [parts[ran.part].arm for ran in one.candidates]
        assert min(arms.count("freeze_first"), arms.count("at_once")) >= 2
        assert {len(ran.epochs) for ran in one.candidates} <= {6, 12}
    assert all(not one.candidates for one in rehearsals(replace(CASTING, planned=0)))


def test_a_sampler_that_learns_moves_its_draws_and_a_blind_one_does_not():
    both = [*CASTING.baselines, *PARTS]

    def spread(casting):
        work = [np.mean([both[ran.part].work for ran in one.trials[10:]]) for one in rehearsals(casting, 60)]
        return np.std(work)

    assert spread(CASTING) > 2 * spread(replace(CASTING, steered=False))


def expected(pace=PACE, n_val=100, **more):
    schedules = [PROBE, WHOLE, UPPER, gradual(GROUPS, 2, head_lr=1e-3, warmup_epochs=1)]
    sizes = replace(SIZES, n_val=n_val, folds=3)
    courses = [course(schedule, pace=pace, sizes=sizes) for schedule in schedules]
    parts = [replace(part, epochs=2, thaw=0) for part in PARTS]
    casting = replace(CASTING, baselines=parts[:2], pool=parts[2:], n_val=n_val)
    return expect(Priced(casting, courses, courses, **more), pace, sizes, seed=0)


def test_ranges_are_the_same_each_time_and_lie_lower_with_the_cache():
    stored, anew = expected()
    assert (stored, anew) == expected()
    for span in ("search", "confirmation", "whole"):
        with_it, without = getattr(stored, span), getattr(anew, span)
        assert with_it.low < with_it.middle < with_it.high
        assert with_it.middle < without.middle
    assert stored.tuning is None
    assert stored.search.holds(stored.search.middle)
    assert not stored.search.holds(stored.search.high * 1.01)


def test_on_a_machine_that_others_use_all_takes_longer_and_is_less_sure():
    quiet, busy = expected()[0].search, expected(PACE.model_copy(update={"load": 2.0}))[0].search
    assert busy.middle > 1.5 * quiet.middle
    assert busy.high / busy.low > 1.2 * quiet.high / quiet.low


def test_tuned_baselines_are_part_of_what_is_expected():
    few, many = (expected(tuned=[0], rates=rates)[0].tuning for rates in (5, 20))
    assert 0 < few.middle < many.middle


# The real thing

GIVEN = {
    "confirm": 0,
    "model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu", "epochs": 1, "folds": 1,
    "space": "quick", "threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def bench(class_folders, tmp_path_factory):
    return Workbench.open(
        Task(data=str(class_folders), model="test_resnet", from_scratch=True, image_size=32, folds=1,
             device="cpu", threads=1, cache_folder=str(tmp_path_factory.mktemp("cache")))
    )  # fmt: skip


@pytest.fixture(scope="module")
def measured(bench):
    before = {name: tensor.clone() for name, tensor in bench.backbone.tensors.items()}
    state = torch.get_rng_state()
    told = []
    found = measure(bench, Regime(), progress=lambda *step: told.append(step))
    same = [torch.equal(tensor, before[name]) for name, tensor in bench.backbone.tensors.items()]
    return found, all(same) and torch.equal(torch.get_rng_state(), state), told


def test_measuring_leaves_the_random_state_and_the_pretrained_tensors_as_they_were(measured):
    _, unchanged, told = measured
    assert unchanged
    assert [step for _, step, _ in told] == list(range(len(told)))
    assert told[-1][1] == told[-1][2]


def test_a_step_costs_more_the_deeper_it_trains_and_the_frozen_part_more_the_higher_the_border(measured):
    pace = measured[0].pace
    prefixes = [border.prefix for border in pace.borders]
    steps = [border.step for border in pace.borders]
    assert prefixes == sorted(prefixes)
    assert prefixes[0] == 0
    assert steps[-1] < steps[0] / 3
    assert [border.measured for border in pace.borders].count(True) == 3
    assert all(border.row_bytes for border in pace.borders[1:])
    assert pace.run > 0


def test_runs_that_break_down_in_their_first_step_are_measured_by_what_there_is(class_folders, tmp_path):
    bench = Workbench.open(
        Task(data=str(class_folders), model="test_resnet", from_scratch=True, image_size=32, folds=1,
             std=(1e-30,) * 3, device="cpu", threads=1, cache_folder=str(tmp_path))
    )  # fmt: skip
    pace = measure(bench, Regime()).pace
    assert all(np.isfinite([border.step, border.epoch]).all() for border in pace.borders)
    assert np.isfinite(pace.run)


def test_a_step_of_everything_needs_its_parameters_four_times_and_what_backward_needs(measured, bench):
    parameters = 4 * sum(group.n_parameters for group in bench.backbone.groups.groups)
    assert measured[0].memory.step_bytes > 4 * parameters
    assert not measured[0].memory.measured


def test_a_resumed_search_is_planned_for_what_is_left(bench):
    space = SpaceSpec.load("quick").resolve(bench.backbone.groups.names, 1)
    options = {"sampler": "tpe", "seed": 0, "trials": 20}
    whole = forecast(bench, space, ended=0, known=frozenset(), **options)
    assert whole.trials == 20
    assert list(whole.baselines) == ["linear_probe", "full", "lp_ft", "fastai"]
    rest = forecast(bench, space, ended=15, known=frozenset({"linear_probe", "full"}), **options)
    assert rest.trials == 5
    assert list(rest.baselines) == ["lp_ft", "fastai"]
    assert rest.expected.search.middle < whole.expected.search.middle


@pytest.fixture(scope="module")
def both(class_folders, tmp_path_factory):
    """A search that tells its plan, one that does not, and what was told."""
    root = tmp_path_factory.mktemp("searches")
    stream = io.StringIO()
    display = Display(console=Console(file=stream, width=200))
    cache = {"cache_folder": str(root / "cache")}
    with_plan = api.search(class_folders, out=root / "with", trials=2, display=display, **GIVEN, **cache)
    without = api.search(class_folders, out=root / "without", trials=2, **GIVEN, **cache)
    return root, with_plan, without, stream.getvalue()


def test_no_number_depends_on_the_plan_and_none_is_made_when_nothing_is_left(both, class_folders):
    root, with_plan, without, told = both
    assert told.count("plan: ") == 3
    assert with_plan.plan.trials == 2
    assert without.plan is None
    curves = [read_records(root / name) for name in ("with", "without")]
    assert curves[0].keys() == curves[1].keys()
    for key, curve in curves[0].items():
        assert all(one.same_as(other) for one, other in zip(curve, curves[1][key], strict=True))
    stream = io.StringIO()
    again = api.search(
        class_folders, out=root / "with", trials=2, resume=True, cache_folder=str(root / "cache"),
        display=Display(console=Console(file=stream, width=200)), **GIVEN,
    )  # fmt: skip
    assert "plan: " not in stream.getvalue()
    assert again.plan == with_plan.plan


def test_features_that_an_earlier_search_has_stored_are_not_filled_again(both, class_folders):
    root = both[0]
    bench = Workbench.open(
        Task(data=str(class_folders), cache_folder=str(root / "cache"),
             **{key: GIVEN[key] for key in GIVEN if key in Task.model_fields and key != "epochs"})
    )  # fmt: skip
    head = len(bench.backbone.groups) - 1
    assert bench.engine.has_stored(head, "plain")
    assert not bench.engine.has_stored(head, "bank 3, crops v1")
    assert not bench.engine.stores.opened


def test_lines_say_what_it_costs_and_where_it_is_kept(both):
    plan = both[1].plan
    lines = plan_lines(plan, device="cpu", out="runs/a", seconds=600)
    assert len(lines) == 3
    assert "plan: 2 trials × 1 fold × 1 epochs, training on" in lines[0]
    assert range_words(plan.stored.search) in lines[1]
    assert f"without the cache about {roughly(plan.anew.search.middle)}" in lines[1]
    assert "runs/a" in lines[2]
    assert "--time ends it after 10 min" in lines[2]
    times = plan.stored.model_copy(update={"tuning": plan.stored.search, "confirmation": plan.stored.search})
    more = plan.model_copy(update={"stored": times, "tuning": 20, "fresh_seeds": 12})
    text = "\n".join(plan_lines(more, device="cpu", out="runs/a"))
    assert "then 20 trials that tune baselines" in text
    assert "then the confirmation on up to 12 fresh seeds" in text


@pytest.mark.parametrize(
    ("exact", "words"),
    [(0.004, "0.1 s"), (0.44, "0.4 s"), (7.4, "7 s"), (44, "40 s"), (57, "1 min"), (80, "1 min 30 s"),
     (600, "10 min"), (3590, "1 h"), (12_000, "3 h 20 min")],
)  # fmt: skip
def test_an_estimate_is_told_no_finer_than_it_is_known(exact, words):
    assert roughly(exact) == words


def test_a_report_whose_plan_is_of_an_earlier_version_is_read_without_it(both):
    kept = both[1].model_dump(mode="json")
    assert StudyResult.model_validate(kept) == both[1]
    assert StudyResult.model_validate({**kept, "plan": {"draw": 3.0, "trials": 2}}).plan is None


# The command


def test_the_command_takes_what_search_takes_and_how_to_print():
    ours, theirs = (inspect.signature(one).parameters for one in (plan_command, search_command))
    assert {name: ours[name] for name in theirs} == dict(theirs)
    assert set(ours) - set(theirs) == {"as_json"}


def test_the_command_tells_costs_and_times_and_writes_no_run_folder(
    class_folders, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    command = ["plan", str(class_folders), "--model", "test_resnet", "--from-scratch", "--image-size", "32",
               "--device", "cpu", "--preset", "quick", "--epochs", "1", "--cache", str(tmp_path / "cache"),
               "--tune-baselines", "full", "--json"]  # fmt: skip
    assert main(command) == 0
    plan = Plan.model_validate(json.loads(capsys.readouterr().out))
    assert plan.trials == 16
    assert plan.tuning == 16
    assert plan.fresh_seeds == 6
    for times in (plan.stored, plan.anew):
        for span in (times.search, times.tuning, times.confirmation, times.whole):
            assert 0 < span.low < span.middle < span.high
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert main([*command[:-1], "--erase", "2"]) == 2

    stream = io.StringIO()
    show_plan(plan, Console(file=stream, width=160), title="test_resnet on photos", limit=60)
    text = stream.getvalue()
    for border in plan.pace.borders:
        assert border.name in text
    for span in (plan.stored.search, plan.anew.search, plan.stored.confirmation):
        assert range_words(span) in text
    assert "--time ends it after 1 min" in text


def test_work_counts_the_frozen_part_only_where_it_is_run(both):
    plan, shares = both[1].plan, both[1].plan.work_shares
    assert plan.work(0, stored=False) == pytest.approx(3)
    assert plan.work(2, stored=False) == pytest.approx(1 + 2 * sum(shares[2:]))
    assert plan.work(2, stored=True) == pytest.approx(3 * sum(shares[2:]))


def test_what_would_not_be_stored_is_told_with_the_reason(both):
    plan = both[1].plan
    sizes = tuple(one.model_copy(update={"why_not": "too large"}) for one in plan.stores)
    stream = io.StringIO()
    show_plan(plan.model_copy(update={"stores": sizes}), Console(file=stream, width=160), title="")
    names = ", ".join(one.border for one in sizes)
    assert f"* not stored below {names}: too large" in stream.getvalue()
