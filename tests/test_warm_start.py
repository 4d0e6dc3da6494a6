"""Warm starts: what won in an earlier search is tried first, mapped by shares to another model and length."""

import json

import pytest

from autofreeze import recipes
from autofreeze.earlier import names_of, read_earlier, warm_starts
from autofreeze.errors import ConfigError
from autofreeze.job import settings_digest
from autofreeze.regime import Regime
from autofreeze.report.files import write_report
from autofreeze.results import Ending
from autofreeze.space import SpaceSpec
from autofreeze.warmstart import (
    Earlier,
    gather,
    mapped_to,
    nearest_depth,
    tell_warm_starts,
    warm_quota,
    why_not,
    winners_of,
)

HERE = ("stem", "a", "b", "c", "d", "head")
SHARES = (0.1, 0.3, 0.2, 0.2, 0.15, 0.05)
"""Of the model that is searched now."""

THERE = ("stem", "layer1", "layer2", "head")
THEIRS = (0.2, 0.53, 0.22, 0.05)
"""Of the earlier one."""

FLAT = """
warmup_epochs: {low: 0, high: 40%, step: 0.5}
unfreeze_depth: {low: 0, high: all}
unfreeze_every: {low: 0, high: 20%, step: 0.25}
freeze_stem: [false, true]
rates: [one, decay, per_group]
head_lr: {low: 1.0e-4, high: 1.0e-2, log: true}
backbone_ratio: {low: 3.0e-3, high: 1.0, log: true}
depth_ratio: {low: 1.0e-2, high: 1.0, log: true}
group_offset: {low: 0.1, high: 10, log: true}
"""
CREATED = "2026-01-01T00:00:00+00:00"
SPACE = SpaceSpec.from_text(FLAT).resolve(HERE, 10)


def trial(made_result, schedule, number=0, value=0.8, **fields):
    return made_result.trial(number, "", value, schedule=schedule, **fields)


def table(start, space=SPACE):
    """The schedule of a mapped point."""
    return space.build({name: start.params.get(name, axis) for name, axis in space.axes.items()})[0]


def mapped(made_result, schedule, space=SPACE, **fields):
    return mapped_to(trial(made_result, schedule, **fields), THEIRS, space, SHARES)


# Mapping


def test_times_go_by_share_of_the_run_and_depth_by_share_of_work(made_result):
    old = recipes.lp_ft(
        THERE, 6, warmup_epochs=1.8, head_lr=3e-3, backbone_ratio=0.1, unfreeze_depth=1, rates="one"
    )
    new = table(mapped(made_result, old))
    assert new.warmup_epochs == 3.0  # 30 % of either run
    # layer2 and the head are .27 of the work there; d and the head are .20 here, with c it is .40
    assert new.unfreeze_depth == 1
    wide = recipes.lp_ft(THERE, 6, warmup_epochs=1.8, head_lr=3e-3, unfreeze_depth=2, rates="one")
    assert table(mapped(made_result, wide)).unfreeze_depth == 4  # .80 there, .90 or .60 here
    assert (new.phases[-1].lrs[-1], new.phases[-1].lrs[-2]) == (3e-3, 3e-4)


@pytest.mark.parametrize("share", [0.0, 0.19, 0.21, 0.5, 0.99, 1.0])
def test_no_depth_is_nearer_by_work(share):
    reached = [sum(SHARES[len(SHARES) - 1 - depth :]) for depth in range(1, len(SHARES))]
    assert abs(reached[nearest_depth(share, SHARES) - 1] - share) == min(abs(one - share) for one in reached)


def test_everything_stays_everything_and_a_head_a_head(made_result):
    assert table(mapped(made_result, recipes.full(THERE, 6, head_lr=1e-3))).unfreeze_depth == 5
    probe = table(mapped(made_result, recipes.linear_probe(THERE, 6, head_lr=2e-3)))
    assert probe.unfreeze_depth == 0
    assert probe.phases[0].lrs[-1] == 2e-3


def test_gradual_thaws_span_the_same_share_of_the_run(made_result):
    old = recipes.gradual(THERE, 6, head_lr=1e-3, warmup_epochs=0.6, unfreeze_every=1.2)
    new = table(mapped(made_result, old))
    first, *_, last = [start for start in _starts(new) if start > 0]
    assert first == 1.0
    assert last - first == pytest.approx(10 * (2 * 1.2) / 6)


def _starts(schedule):
    total, found = 0.0, []
    for phase in schedule.phases:
        found.append(total)
        total += phase.epochs
    return found


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"rates": "one"}, "one"),
        ({"rates": "decay", "depth_ratio": 0.04}, "decay"),
        ({"rates": "per_group", "group_offsets": [1.0, 5.0, 0.2]}, "per_group"),
    ],
)
def test_rates_keep_how_they_are_spread(made_result, given, word):
    old = recipes.full(THERE, 6, head_lr=2e-3, backbone_ratio=0.05, **given)
    found = mapped(made_result, old)
    assert found.params["rates"] == word
    new = table(found).phases[-1].lrs
    assert (new[-1], new[-2]) == (2e-3, pytest.approx(1e-4))
    assert new[0] == pytest.approx(old.phases[-1].lrs[0], rel=1e-4)
    assert not found.moved


def test_the_own_space_gives_a_schedule_back_as_it_was(made_result):
    space = SpaceSpec.from_text(FLAT).resolve(THERE, 6)
    for schedule in (
        recipes.gradual(THERE, 6, head_lr=1e-3, warmup_epochs=1, unfreeze_every=0.5, depth_ratio=0.1),
        recipes.full(THERE, 6, head_lr=3e-3, backbone_ratio=1.0, rates="one"),
        recipes.full(THERE, 6, head_lr=3e-3, rates="per_group", group_offsets=[1.0, 3.0, 0.3]),
        recipes.frozen_stem(THERE, 6, head_lr=1e-3, rates="one"),
        recipes.linear_probe(THERE, 6, head_lr=1e-3),
    ):
        found = mapped_to(trial(made_result, schedule), THEIRS, space, THEIRS)
        again = table(found, space)
        assert settings_digest(again, Regime()) == settings_digest(schedule, Regime()), again


def test_what_the_space_does_not_reach_is_told_and_the_nearest_taken(made_result):
    old = recipes.lp_ft(THERE, 6, warmup_epochs=4, head_lr=3e-2, backbone_ratio=1e-3, rates="one")
    found = mapped(made_result, old)
    assert table(found).warmup_epochs == 4.0
    assert table(found).phases[-1].lrs[-1] == 1e-2
    text = "\n".join(found.moved)
    for word in (
        "head_lr 3e-2 lies outside 1e-4 to 1e-2: nearest taken",
        "backbone_ratio 0.001 lies outside",
        "warmup_epochs 6.67 lies outside 0 to 4",
    ):
        assert word in text


def test_a_space_without_rates_by_group_takes_a_decay_and_says_so(made_result):
    space = SpaceSpec.from_text(FLAT.replace(", per_group]", "]")).resolve(HERE, 10)
    old = recipes.full(THERE, 6, head_lr=1e-3, rates="per_group", group_offsets=[1.0, 5.0, 0.2])
    found = mapped(made_result, old, space)
    assert found.params["rates"] == "decay"
    assert "rates by group become a decay" in found.moved


# What cannot be taken over


def test_other_optimizers_and_other_shapes_are_left_out_with_the_reason(made_result):
    adam = trial(made_result, recipes.full(THERE, 6, head_lr=1e-1))
    sgd = adam.model_copy(update={"regime": Regime(optimizer="sgd")})
    assert why_not(sgd, SPACE) == "its rates are for sgd, and this search uses adamw"
    both = SpaceSpec.from_text(FLAT + "optimizer: [adamw, sgd]\n").resolve(HERE, 10)
    assert why_not(sgd, both) == ""
    block = trial(made_result, recipes.one_block(THERE, 6, block=1, head_lr=1e-3))
    assert "no schedule that opens the backbone from the head down" in why_not(block, SPACE)
    chain = trial(made_result, recipes.chain_thaw(THERE, 6, head_lr=1e-3))
    assert why_not(chain, SPACE)
    other = SpaceSpec.from_text("shape: chain_thaw\nhead_lr: {low: 1.0e-4, high: 1.0e-2}\n").resolve(HERE, 10)
    assert why_not(trial(made_result, recipes.full(THERE, 6, head_lr=1e-3)), other)


# Who is taken


def test_the_confirmed_winner_comes_first_and_those_left_behind_do_not_come(made_result):
    result = made_result.result((2, 0.01, 0.01), (3, 0.02, 0.01), (0, 0.05, 0.01))
    assert [one.number for one in winners_of(result)] == [1, 2, 3]
    found = result.confirmation
    left = [one.model_copy(update={"dropped_at": 6}) if one.trial == 2 else one for one in found.candidates]
    result = result.model_copy(update={"confirmation": found.model_copy(update={"candidates": tuple(left)})})
    assert [one.number for one in winners_of(result)] == [1, 3, 0]


def test_unconfirmed_the_best_values_come_equal_ones_once_and_none_that_was_too_dear(made_result):
    trials = (
        *made_result.trials,
        made_result.trial(4, "lp_ft", 0.859),
        made_result.trial(5, "last_groups", 0.99, affordable=False),
        made_result.trial(6, "last_groups", None, ending=Ending.UNSTABLE),
    )
    assert [one.number for one in winners_of(made_result.result(trials=trials))] == [1, 3, 2]


def runs(made_result, n, **fields):
    result = made_result.result(**fields)
    return [Earlier(f"run{number}", result) for number in range(n)]


def test_the_best_of_each_run_come_before_the_second_and_a_quarter_of_the_trials_at_most(made_result):
    better = made_result.result(
        trials=(made_result.trial(9, "last_groups", 0.9), made_result.trial(8, "decay", 0.85))
    )
    earlier = [*runs(made_result, 1), Earlier("other", better)]
    found = gather(earlier, SPACE, SHARES, 12)
    assert [one.origin for one in found.taken] == ["run0#1", "other#9", "run0#3"]
    assert warm_quota(12) == 3
    assert warm_quota(3) == 1
    text = "\n".join(found.lines)
    assert "run0#2 left out: a quarter of the 12 trials" in text
    assert "other#8 left out: here it is the same as run0#3" in text
    assert found.runs == ("run0", "other")


def test_the_report_says_where_trials_came_from_and_whether_one_won(made_result):
    trials = [one.model_copy(update={"warm_start": f"old#{one.number}"}) for one in made_result.trials[1:3]]
    result = made_result.result(trials=(made_result.trials[0], *trials))
    assert tell_warm_starts(result) == "trial 1 from old#1, trial 2 from old#2; old#1 won"
    fresh = made_result.trial(7, "decay", 0.99)
    assert "none of them won" in tell_warm_starts(made_result.result(trials=(*trials, fresh)))
    assert tell_warm_starts(made_result.result()) == ""


# Reading run folders


@pytest.fixture
def run_folder(tmp_path, made_result):
    def make(name, *, schema=2, **fields):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_report(made_result.result(**fields), folder)
        (folder / "run.json").write_text(json.dumps({"schema": schema, "identity": {}, "created": CREATED}))
        return folder

    return make


def test_all_that_is_wrong_with_runs_is_told_at_once(tmp_path, run_folder, made_result):
    empty = made_result.trial(0, "full", None, ending=Ending.FAILED)
    own = run_folder("own")
    (tmp_path / "link").symlink_to(own)
    broken = run_folder("broken")
    (broken / "report.json").write_text('{"schema_version": 99, "what": 1}')
    several = tmp_path / "several"
    several.mkdir()
    summary = {
        "kind": "summary", "model": "net", "seconds": 1.0,
        "datasets": [{"name": "cats", "data": "cats"}, {"name": "dogs", "data": "dogs"}],
    }  # fmt: skip
    (several / "report.json").write_text(json.dumps(summary))
    given = [
        tmp_path / "nowhere", run_folder("old", schema=1), tmp_path / "link",
        run_folder("none", trials=(empty,)), several, broken, run_folder("good"),
    ]  # fmt: skip
    with pytest.raises(ConfigError) as error:
        read_earlier(given, own)
    problems = error.value.problems
    assert len(problems) == 6
    for name, words in (
        ("nowhere", "no report.json"),
        ("old", "schema 1; this version knows 2"),
        ("link", "is the run folder of this search itself"),
        ("none", "no complete trial"),
        ("several", f"name one of them: {several}/cats, {several}/dogs"),
        ("broken", "damaged or from another version"),
    ):
        assert any(one.startswith(f"warm-start: {tmp_path}/{name}: ") and words in one for one in problems)


def begin(runs, out, *, resume=False):
    return warm_starts(runs, out, resume=resume, space=SPACE, work_shares=SHARES, trials=40)


def test_a_run_named_twice_counts_once(run_folder, tmp_path):
    good = run_folder("good")
    assert begin([good, f"{good}/"], tmp_path / "out") == begin([good], tmp_path / "out")


def test_a_run_that_is_named_by_two_paths_counts_once(run_folder, tmp_path):
    run = run_folder("one")
    (tmp_path / "also").symlink_to(run)
    assert len(read_earlier([run, tmp_path / "also"], tmp_path / "out")) == 1


def test_a_resumed_search_keeps_its_warm_starts_when_the_run_is_gone(run_folder, tmp_path):
    good, out = run_folder("good"), tmp_path / "out"
    first = begin([good], out)
    assert first.taken
    out.mkdir()
    identity = {"warm_start": first.model_dump(mode="json")}
    (out / "run.json").write_text(json.dumps({"schema": 2, "identity": identity, "created": CREATED}))
    (good / "report.json").unlink()
    assert begin([], out, resume=True) == first
    assert begin([good], out, resume=True) == first
    assert names_of([good]) == list(first.runs)
    with pytest.raises(ConfigError, match="elsewhere: no report"):
        begin([tmp_path / "elsewhere"], out, resume=True)


def test_a_run_folder_without_warm_starts_resumes(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"schema": 2, "identity": {}, "created": CREATED}))
    assert begin([], tmp_path, resume=True).taken == ()
