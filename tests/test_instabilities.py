"""Where runs became unstable: which cell each counts in, and what is said of a warm-up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofreeze import recipes
from autofreeze.instabilities import ONE_SIDED, instabilities, peak_rate, row_of
from autofreeze.job import Thaw
from autofreeze.regime import Regime
from autofreeze.results import Ending, MemberResult, TrialResult
from autofreeze.schedule import Phase, Schedule
from autofreeze.stability import KINDS

GROUPS = ("stem", "layer1", "layer2", "head")
THAW = Thaw(
    step=5, columns=(2,), loss=0.7, grad_norms=(None, None, 1.0, 1.0), weight_norms=(None, None, 9, 1)
)
NAN = "non-finite loss at step 3"
SPIKE = "loss spike: 9.1 in epoch 2, 0.5 at the start of its phase"


def at_once(rate=3e-4, **axes):
    return recipes.full(GROUPS, 6, head_lr=1e-2, backbone_ratio=rate / 1e-2, **axes)


def after(rate=3e-4, warmup=2, **axes):
    return recipes.lp_ft(GROUPS, 6, head_lr=1e-2, backbone_ratio=rate / 1e-2, warmup_epochs=warmup, **axes)


def probe(rate=3e-3):
    return recipes.linear_probe(GROUPS, 6, head_lr=rate)


def trial(schedule, ending=Ending.COMPLETE, reason="", number=0, **fields):
    given = {"number": number, "recipe": "custom", "regime": Regime(), "ending": ending, "reason": reason}
    return TrialResult(schedule=schedule, **{**given, **fields})


def unstable(schedule, reason=NAN, **fields):
    return trial(schedule, Ending.UNSTABLE, reason, **fields)


def cells(found):
    return {(cell.row, cell.decade): (cell.unstable.count, cell.unstable.of) for cell in found.cells}


# The place of a run


@pytest.mark.parametrize(
    ("schedule", "row"),
    [
        (at_once(), "at once"),
        (at_once(unfreeze_depth=1), "at once"),
        (after(), "after a warm-up"),
        (recipes.gradual(GROUPS, 6, head_lr=1e-3, unfreeze_every=1), "at once"),
        (recipes.gradual(GROUPS, 6, head_lr=1e-3, unfreeze_every=1, warmup_epochs=1), "after a warm-up"),
        (probe(), "head alone"),
    ],
)
def test_a_run_stands_where_it_begins(schedule, row):
    assert row_of(schedule) == row


def test_the_peak_is_that_of_the_fastest_group_of_the_backbone_not_of_the_head():
    rates = Phase(epochs=4, lrs=(1e-5, 4e-4, None, 1.0))
    assert peak_rate(Schedule(groups=GROUPS, phases=(rates,))) == pytest.approx(4e-4)
    assert peak_rate(probe(2e-3)) == pytest.approx(2e-3)


def test_after_a_warmup_the_cosine_has_come_down():
    whole = after(1e-3, warmup=3)  # half of six epochs: the cosine is at a half
    assert peak_rate(whole) == pytest.approx(5e-4, rel=1e-3)
    assert peak_rate(whole.model_copy(update={"curve": "constant"})) == pytest.approx(1e-3)
    assert peak_rate(whole.model_copy(update={"curve_over": "phase"})) == pytest.approx(1e-3)


def test_a_later_phase_may_be_the_highest():
    phases = (Phase(epochs=2, lrs=(None, None, 1e-5, 1e-3)), Phase(epochs=2, lrs=(None, 1e-3, 1e-5, 1e-3)))
    assert peak_rate(Schedule(groups=GROUPS, phases=phases, curve="constant")) == pytest.approx(1e-3)
    nothing = (Phase(epochs=1e-4, lrs=(1.0, 1.0, 1.0, 1.0)), *phases)
    assert peak_rate(Schedule(groups=GROUPS, phases=nothing, curve="constant")) == pytest.approx(1e-3)


@settings(deadline=None)
@given(
    st.sampled_from(["cosine", "constant"]),
    st.sampled_from(["run", "phase"]),
    st.floats(0, 4),
    st.lists(st.tuples(st.floats(0.1, 3), st.floats(1e-6, 1e-2) | st.none()), min_size=1, max_size=3),
)
def test_the_peak_is_what_the_timetable_reaches(curve, over, ramp, rows):
    phases = tuple(Phase(epochs=length, lrs=(None, lr, None, 1e-3)) for length, lr in rows)
    total = sum(phase.epochs for phase in phases)
    schedule = Schedule(
        groups=GROUPS, phases=phases, curve=curve, curve_over=over, lr_ramp_epochs=min(ramp, total)
    )
    timetable = schedule.timetable(100)
    column = "layer1" if schedule.unfreeze_depth else "head"
    reached = max(timetable.rate(column, step) or 0.0 for step in range(timetable.total_steps))
    assert peak_rate(schedule) == pytest.approx(reached)


@pytest.mark.parametrize(
    ("rate", "decade"), [(1e-4, -4), (9.99e-4, -4), (1e-3, -3), (1.0, 0), (3e-7, -7), (20.0, 1)]
)
def test_cells_are_decades(rate, decade):
    found = instabilities([trial(at_once(rate))])
    assert cells(found) == {("at once", decade): (0, 1)}


# Which runs count


def test_runs_are_counted_once_each_in_their_cell():
    found = instabilities(
        [
            trial(at_once(3e-4)),
            unstable(at_once(5e-4)),
            unstable(at_once(3e-3), SPIKE),
            trial(after(3e-3), thaw=THAW),
            trial(probe(3e-3)),
            unstable(probe(0.3)),
        ]
    )
    assert cells(found) == {
        ("at once", -4): (1, 2),
        ("at once", -3): (1, 1),
        ("after a warm-up", -3): (0, 1),
        ("head alone", -3): (0, 1),
        ("head alone", -1): (1, 1),
    }
    assert found.kinds == {"non-finite loss": 2, "loss spike": 1}
    assert (found.unstable.count, found.unstable.of) == (3, 6)
    assert next(cell.kinds for cell in found.cells if cell.decade == -4) == {"non-finite loss": 1}


def test_cells_come_by_row_then_by_rate():
    trials = [trial(probe()), trial(after(), thaw=THAW), trial(at_once(1e-2)), trial(at_once(1e-5))]
    order = [(cell.row, cell.decade) for cell in instabilities(trials).cells]
    assert order == [("at once", -5), ("at once", -2), ("after a warm-up", -4), ("head alone", -3)]


@pytest.mark.parametrize("ending", [Ending.TOO_DEAR, Ending.FAILED, Ending.NOT_COMPARABLE, Ending.UNFINISHED])
def test_what_broke_off_for_other_reasons_counts_nowhere(ending):
    found = instabilities([trial(at_once(), ending, "out of memory")])
    assert (found.unstable.of, found.cells, found.too_early) == (0, (), 0)


def test_the_result_of_an_equal_trial_is_no_run_of_its_own():
    runs = [unstable(at_once(), number=0), unstable(at_once(), number=4, same_as=0)]
    assert cells(instabilities(runs)) == {("at once", -4): (1, 1)}


def test_baselines_count_also_at_tuned_rates():
    runs = [trial(at_once(), baseline="full"), unstable(at_once(), baseline="full", tuned=True)]
    assert cells(instabilities(runs)) == {("at once", -4): (1, 2)}


def test_a_run_that_was_pruned_before_its_thaw_cannot_tell():
    pruned = trial(after(), Ending.UNPROMISING, "behind")
    later = trial(after(), Ending.UNPROMISING, "behind", thaw=THAW)
    found = instabilities(
        [pruned, later, trial(at_once(), Ending.UNPROMISING), trial(probe(), Ending.UNPROMISING)]
    )
    assert found.too_early == 1
    assert cells(found) == {
        ("at once", -4): (0, 1), ("after a warm-up", -4): (0, 1), ("head alone", -3): (0, 1),
    }  # fmt: skip


def test_a_run_that_broke_in_its_warmup_counts_as_one_with_a_warmup():
    """Else long warm-ups would be shown by their survivors alone."""
    found = instabilities([unstable(after()), unstable(after(), thaw=THAW), trial(after(), thaw=THAW)])
    assert cells(found) == {("after a warm-up", -4): (2, 3)}
    assert found.before_thaw == 1


def test_a_head_alone_has_no_thaw_to_break_before():
    found = instabilities([unstable(probe()), trial(after(), thaw=THAW)])
    assert found.before_thaw == 0


def test_a_report_that_knows_of_no_thaw_takes_pruned_runs_as_thawed():
    found = instabilities([trial(after(), Ending.UNPROMISING), unstable(after())])
    assert cells(found) == {("after a warm-up", -4): (1, 2)}
    assert (found.before_thaw, found.too_early) == (0, 0)


def test_each_head_of_a_sweep_counts_at_its_own_rate():
    rates = {3e-4: "", 3e-3: "", 0.5: NAN, 0.7: "head norm: 900"}
    members = tuple(
        MemberResult(params={"head_lr": rate}, settings=str(rate), reason=reason)
        for rate, reason in rates.items()
    )
    found = instabilities([trial(probe(3e-3), members=members, member=1)])
    assert cells(found) == {
        ("head alone", -4): (0, 1),
        ("head alone", -3): (0, 1),
        ("head alone", -1): (2, 2),
    }
    assert found.kinds == {"non-finite loss": 1, "head norm": 1}


def test_heads_that_differ_in_other_settings_share_the_rate():
    members = tuple(MemberResult(params={"weight_decay": decay}, settings="x") for decay in (0.0, 0.1))
    found = instabilities([trial(probe(3e-3), members=members, member=0)])
    assert cells(found) == {("head alone", -3): (0, 2)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_told(kind):
    assert instabilities([unstable(at_once(), f"{kind}: 9 at step 3")]).kinds == {kind: 1}


def test_a_reason_of_no_known_kind_is_counted_too():
    assert instabilities([unstable(at_once(), "it smoked")]).kinds == {"another reason": 1}


def test_a_search_without_trials_has_an_empty_map():
    found = instabilities([])
    assert (found.unstable.of, found.cells, found.warmup.finding) == (0, (), "nothing to compare")


# With a warm-up or without


def runs(schedule, n, n_unstable):
    return [unstable(schedule, thaw=THAW)] * n_unstable + [trial(schedule, thaw=THAW)] * (n - n_unstable)


def test_fewer_unstable_runs_after_a_warmup_are_called_so_where_chance_would_not_give_them():
    found = instabilities(runs(at_once(3e-3), 10, 6) + runs(after(3e-3), 10, 0)).warmup
    assert found.finding == "less often"
    assert (found.contrast.share, found.contrast.other_share) == (0, 0.6)


def test_more_unstable_runs_after_a_warmup_are_called_so_too():
    assert instabilities(runs(at_once(3e-3), 10, 0) + runs(after(3e-3), 10, 6)).warmup.finding == "more often"


def test_what_chance_gives_is_not_told():
    assert instabilities(runs(at_once(3e-3), 10, 5) + runs(after(3e-3), 10, 2)).warmup.finding == "not told"


def test_too_few_runs_could_not_have_told():
    assert instabilities(runs(at_once(3e-3), 3, 3) + runs(after(3e-3), 3, 0)).warmup.finding == "too few"
    assert instabilities(runs(at_once(3e-3), 30, 1) + runs(after(3e-3), 30, 0)).warmup.finding == "too few"


def test_a_warmup_at_gentler_rates_is_not_praised_for_it():
    """Runs at once are at 3e-2 and break; those after a warm-up are at 3e-5, where nothing breaks."""
    apart = runs(at_once(3e-2), 12, 9) + runs(after(3e-5), 12, 0)
    assert instabilities(apart).warmup.finding == "nothing to compare"
    overlapping = apart + runs(at_once(3e-5), 2, 0) + runs(after(3e-2), 2, 2)
    assert instabilities(overlapping).warmup.finding != "less often"


def test_what_only_a_warmup_can_show_is_not_held_against_warmups():
    """A run at once has no value of its head alone to fall below."""
    below = [unstable(after(3e-3), f"{ONE_SIDED}: 0.4 at epoch 3, 0.6 before", thaw=THAW)] * 8
    found = instabilities(runs(at_once(3e-3), 10, 3) + runs(after(3e-3), 4, 2) + below)
    assert found.kinds[ONE_SIDED] == 8
    assert cells(found)[("after a warm-up", -3)] == (10, 12)
    assert found.warmup.left_out == 8
    assert (found.warmup.contrast.share, found.warmup.contrast.other_share) == (pytest.approx(2 / 12), 0.3)


def test_heads_alone_are_no_evidence_for_warmups():
    base = runs(at_once(3e-3), 6, 5) + runs(after(3e-3), 6, 3)
    assert instabilities(base).warmup == instabilities(base + runs(probe(3e-3), 40, 0)).warmup
