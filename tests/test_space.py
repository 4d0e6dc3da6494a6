# ruff: noqa: E501 - the tables of wrong input are read by line
"""Search spaces: what they read, refuse and draw."""

import math
import re
from fractions import Fraction

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.samplers import RandomSampler

from autofreeze import recipes
from autofreeze.axes import AXIS_WORDS, REGIME_AXES, SCHEDULE_AXES, Choice, Range
from autofreeze.baselines import baselines
from autofreeze.errors import ConfigError
from autofreeze.regime import Regime
from autofreeze.space import Space, SpaceSpec, distinct_lengths_step, shipped_spaces
from autofreeze.spacefiles import headline

LENGTHS = (1, 2, 5, 6, 12, 30)
N_GROUPS = range(2, 10)
HEAD = "head_lr: {low: 1e-4, high: 1e-2, log: true}\n"


def names(n: int) -> tuple[str, ...]:
    return (*(f"g{column}" for column in range(n - 1)), "head")


def space(text: str, n_groups: int = 5, epochs: float = 6) -> Space:
    return SpaceSpec.from_text(text, name="mine").resolve(names(n_groups), epochs)


def trials(n: int, seed: int = 0):
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    return (study.ask() for _ in range(n))


@pytest.fixture(autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


# Shipped spaces


def test_the_shipped_spaces_are_found_by_name():
    assert set(shipped_spaces()) == {"default", "per_group_rates", "quick", "surgical", "thorough"}
    with pytest.raises(ConfigError, match="no search space is called 'quik'; did you mean quick"):
        SpaceSpec.load("quik")


@pytest.mark.parametrize("epochs", LENGTHS)
@pytest.mark.parametrize("name", shipped_spaces())
def test_a_shipped_space_gives_valid_schedules_for_every_model_and_length(name, epochs):
    for n_groups in N_GROUPS:
        fitted = SpaceSpec.load(name).resolve(names(n_groups), epochs)
        for trial in trials(3, seed=n_groups):
            schedule, regime = fitted.suggest(trial)
            assert schedule.groups == names(n_groups)
            assert schedule.epochs == epochs
            assert schedule.phases[0].lrs[-1] is not None
            assert (regime.optimizer, regime.batch_size) == ("adamw", 32)
            if name != "thorough":
                assert regime == Regime(optimizer="adamw", batch_size=32, weight_decay=0.01)


def test_only_the_thorough_space_searches_the_regime():
    searched = {
        name: set(SpaceSpec.load(name).resolve(names(5), 12).searched) & set(REGIME_AXES)
        for name in shipped_spaces()
    }
    assert searched.pop("thorough") == {"weight_decay", "label_smoothing", "class_weights", "norm"}
    assert not any(searched.values())


def test_the_baselines_of_the_thorough_space_have_the_default_regime():
    fitted = SpaceSpec.load("thorough").resolve(names(8), 12)
    for baseline in baselines(7, 12):
        schedule, regime = fitted.build(fitted.place(baseline.params))
        assert regime == Regime()
        assert schedule.lr_ramp_epochs == 0


def test_only_the_surgical_space_trains_a_group_with_those_above_it_frozen():
    for name in shipped_spaces():
        fitted = SpaceSpec.load(name).resolve(names(5), 12)
        shapes = {recipes.name_of(fitted.suggest(trial)[0]) for trial in trials(40)}
        assert ("one_block" in shapes) == (name == "surgical")


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_shipped_space_says_in_its_header_for_whom_it_is_and_how_to_use_it(name):
    header = [line for line in shipped_spaces()[name].read_text().splitlines() if line.startswith("#")]
    text = " ".join(line.removeprefix("#").strip() for line in header)
    assert re.match(rf"The {name.replace('_', '.')} space|The space of", text)
    assert "trials" in headline(shipped_spaces()[name])
    assert f"autofreeze search DATA --space {name}" in text


def test_the_quick_space_has_as_many_axes_as_it_says():
    words = {4: "four", 5: "five", 6: "six", 7: "seven"}
    searched = SpaceSpec.load("quick").resolve(names(5), 12).searched
    assert f"{words[len(searched)]} axes" in headline(shipped_spaces()["quick"])


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_axis_is_drawn_in_every_trial_under_the_same_name(name):
    fitted = SpaceSpec.load(name).resolve(names(6), 12)
    for trial in trials(40):
        fitted.suggest(trial)
        assert set(trial.params) == set(fitted.searched)
        assert trial.distributions == next(iter(trials_of(fitted))).distributions


def trials_of(fitted: Space):
    for trial in trials(1):
        fitted.suggest(trial)
        yield trial


# Drawing


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.sampled_from(LENGTHS), st.integers(0, 10_000))
def test_the_same_parameters_give_the_same_schedule(n_groups, epochs, seed):
    fitted = SpaceSpec.load("default").resolve(names(n_groups), epochs)
    (trial,) = trials(1, seed=seed)
    first = fitted.suggest(trial)
    again = SpaceSpec.load("default").resolve(names(n_groups), epochs)
    assert again.suggest(optuna.trial.FixedTrial(trial.params)) == first
    assert again.suggest(Lowest(trial.params)) == first


class Lowest:
    """No Optuna trial: an object with the three methods, which gives what it was told or the lowest."""

    def __init__(self, params=None):
        self.params = params or {}

    def suggest_float(self, name, low, high, *, step=None, log=False):
        return self.params.get(name, low)

    def suggest_int(self, name, low, high, *, step=1, log=False):
        return self.params.get(name, low)

    def suggest_categorical(self, name, choices):
        return self.params.get(name, choices[0])


def test_anything_with_the_three_methods_may_draw():
    schedule, _ = SpaceSpec.load("default").resolve(names(5), 12).suggest(Lowest())
    assert recipes.name_of(schedule) == "linear_probe"
    assert schedule.phases[0].lrs[-1] == 3e-4


@pytest.mark.parametrize(
    ("low", "high", "epochs", "lengths"),
    [
        ("0", "40%", 12, [0, 1, 2, 3, 4]),
        ("0", "40%", 5, [0, 1, 2]),
        ("0", "40%", 3, [0, 0.5, 1]),
        ("0", "40%", 2, [0, 0.25, 0.5, 0.75]),
        ("0", "40%", 1, [0, 0.25]),
        ("10%", "50%", 6, [0.6, 1.6, 2.6]),
        ("1", "3", 6, [1, 2, 3]),
    ],
)
def test_warmups_cover_the_distinct_lengths_of_the_run(low, high, epochs, lengths):
    fitted = space(f"{HEAD}warmup_epochs: {{low: {low}, high: {high}}}\n", epochs=epochs)
    drawn = {trial.params["warmup_epochs"] for trial in trials(120) if fitted.suggest(trial)}
    assert sorted(drawn) == pytest.approx(lengths)


@settings(max_examples=100, deadline=None)
@given(st.fractions(0, 30, max_denominator=20), st.fractions(0, 30, max_denominator=20))
def test_a_grid_of_lengths_has_at_least_three_when_half_an_epoch_fits(low, width):
    low, high = float(low), float(low + width)
    step = Fraction(distinct_lengths_step(low, high))
    assert step in (1, Fraction(1, 2), Fraction(1, 4))
    if width >= Fraction(1, 2):
        assert math.floor(width / step) + 1 >= 3


def test_depths_are_whole_numbers_from_none_to_all():
    fitted = space(f"{HEAD}unfreeze_depth: {{low: 0, high: all}}\n", n_groups=5)
    drawn = {}
    for trial in trials(60):
        schedule, _ = fitted.suggest(trial)
        drawn[trial.params["unfreeze_depth"]] = schedule.unfreeze_depth
    assert drawn == {depth: depth for depth in range(5)}


@pytest.mark.parametrize(
    ("text", "depths"),
    [
        ("[0, 50%, all]", (0, 2, 4)),
        ("[4, 100%, all]", (4,)),
        ("{low: 50%, high: all}", (2, 4)),
        ("{low: 0, high: 3, step: 2}", (0, 2)),
    ],
)
def test_depths_may_be_shares_and_lists(text, depths):
    axis = space(f"{HEAD}unfreeze_depth: {text}\n", n_groups=5).axes["unfreeze_depth"]
    assert (axis.options if isinstance(axis, Choice) else (axis.low, axis.high)) == depths


def test_batch_sizes_are_whole_and_keep_their_step_and_log():
    by_step = space(f"{HEAD}batch_size: {{low: 16, high: 70, step: 16}}\n")
    assert {by_step.suggest(trial)[1].batch_size for trial in trials(60)} == {16, 32, 48, 64}
    by_log = space(f"{HEAD}batch_size: {{low: 1, high: 1024, log: true}}\n")
    sizes = [by_log.suggest(trial)[1].batch_size for trial in trials(100)]
    assert sum(size <= 32 for size in sizes) > 30
    assert space(f"{HEAD}batch_size: 64.0\n").suggest(Lowest())[1].batch_size == 64


def test_a_regime_may_be_searched_by_lists_and_ranges():
    text = (
        HEAD + "optimizer: [adamw, sgd]\nnorm: [follow, eval]\nweight_decay: [0, 0.1]\nviews: [none, flip]\n"
        "class_weights: [none, balanced]\nlabel_smoothing: {low: 0, high: 0.2}\nmomentum: {low: 0.5, high: 0.95}\n"
    )
    regimes = [space(text).suggest(trial)[1] for trial in trials(40)]
    assert {regime.optimizer for regime in regimes} == {"adamw", "sgd"}
    assert {regime.norm for regime in regimes} == {"follow", "eval"}
    assert {regime.weight_decay for regime in regimes} == {0, 0.1}
    assert {regime.class_weights for regime in regimes} == {"none", "balanced"}
    assert all(0 <= regime.label_smoothing <= 0.2 and 0.5 <= regime.momentum <= 0.95 for regime in regimes)


def test_views_that_are_no_crops_do_not_use_erase_so_that_equal_runs_are_one():
    fitted = space(HEAD + "views: [flip, bank:8, online]\nerase: {low: 0.1, high: 0.5}\n")
    regimes = [fitted.suggest(trial)[1] for trial in trials(60)]
    by_views = {
        views: {one.erase for one in regimes if one.views == views} for views in fitted.axes["views"].options
    }
    assert by_views["flip"] == {0.0}
    assert all(len(by_views[views]) > 5 and min(by_views[views]) >= 0.1 for views in ("bank:8", "online"))


@pytest.mark.parametrize(
    ("text", "views", "erase"),
    [
        ("", "flip", 0),
        ("views: online\nerase: 0.25\n", "online", 0.25),
        ("views: [bank:8, flip]\nerase: 0.25\n", "flip", 0),
        ("views: [bank:8, none]\nerase: {low: 0, high: 1}\n", "bank:8", 0),
        ("views: [bank:8, none]\nerase: {low: 0.25, high: 1}\n", "bank:8", 0.25),
    ],
    ids=["default", "fixed", "usual views are an option", "usual views are none", "erasing always"],
)
def test_baselines_see_the_usual_views_where_they_may(text, views, erase):
    fitted = space(HEAD + text)
    baseline = baselines(fitted.n_backbone, fitted.epochs)[1]
    placed = fitted.place({**baseline.params, "head_lr": 1e-3})
    if placed is not None:
        assert (fitted.build(placed)[1].views, fitted.build(placed)[1].erase) == (views, erase)
    assert fitted.fixed_regime.views == views


def test_a_fixed_regime_is_what_is_not_searched():
    fitted = space(HEAD + "optimizer: sgd\nbatch_size: [16, 64]\nlabel_smoothing: 0.1\n")
    assert fitted.fixed_regime == Regime(optimizer="sgd", label_smoothing=0.1)


def test_group_offsets_are_one_axis_for_each_group_of_the_backbone():
    text = HEAD + "rates: [one, per_group]\ngroup_offset: {low: 0.5, high: 2, log: true}\n"
    searched = set(space(text, n_groups=4).searched)
    assert searched == {"head_lr", "rates", "group_offset_1", "group_offset_2", "group_offset_3"}
    schedule, _ = space(text, n_groups=4).build(
        {
            "head_lr": 1.0,
            "backbone_ratio": 0.1,
            "rates": "per_group",
            "group_offset_1": 2,
            "group_offset_3": 0.5,
        }
    )
    assert schedule.phases[0].lrs == (0.05, 0.1, 0.2, 1.0)


def test_yaml_numbers_with_an_exponent_are_numbers():
    axis = space("head_lr: {low: 1e-4, high: 1E-2, log: true}\n").axes["head_lr"]
    assert axis == Range(low=0.0001, high=0.01, log=True)
    assert space("head_lr: 1e-3\n").axes["head_lr"] == 0.001


def test_a_step_that_does_not_divide_its_range_ends_below_it():
    axis = space("head_lr: {low: 1e-3, high: 1.05e-2, step: 1e-3}\n").axes["head_lr"]
    assert (axis.low, axis.high) == (0.001, 0.01)
    assert space("head_lr: {low: 1, high: 2, step: 5}\n").axes["head_lr"] == 1.0


# Other shapes


def test_one_block_tries_every_block():
    fitted = space(f"shape: one_block\n{HEAD}warmup_epochs: {{low: 0, high: 40%}}\n", n_groups=5)
    blocks = set()
    for trial in trials(80):
        schedule, _ = fitted.suggest(trial)
        last = [lr is not None for lr in schedule.phases[-1].lrs]
        assert sum(last) == 2
        assert last[-1]
        assert last[trial.params["block"]]
        assert schedule.warmup_epochs == trial.params["warmup_epochs"]
        blocks.add(trial.params["block"])
    assert blocks == {0, 1, 2, 3}
    listed = space(f"shape: one_block\n{HEAD}block: [0, 50%, all]\n", n_groups=6).axes["block"]
    assert listed.options == (0, 2, 4)


@pytest.mark.parametrize("n_groups", N_GROUPS)
def test_chain_thaw_may_be_searched_for_its_rates(n_groups):
    fitted = space(
        f"shape: chain_thaw\n{HEAD}backbone_ratio: {{low: 0.01, high: 1, log: true}}\n", n_groups=n_groups
    )
    for trial in trials(3):
        schedule, _ = fitted.suggest(trial)
        expected = recipes.chain_thaw(names(n_groups), 6, **trial.params)
        assert schedule == expected
        assert recipes.name_of(schedule) == "chain_thaw"
    assert fitted.place({"head_lr": 1e-3}) is None


# What is refused

UNKNOWN = "unknown; did you mean"
BAD = {
    "nothing": ("", ["must be a mapping of axis names"]),
    "list": ("- 1\n", ["must be a mapping of axis names"]),
    "no head_lr": ("{}", ["head_lr: missing"]),
    "key": ("head-lr: 1\nhead_lr: 1\n", [f"line 1: head-lr: {UNKNOWN} head_lr?"]),
    "key of another shape": (f"shape: chain_thaw\n{HEAD}block: 2\n", ["line 3: block: unknown"]),
    "number as a key": (f"1: 2\n{HEAD}", ["line 1: 1: unknown"]),
    "shape": (f"shape: flatt\n{HEAD}", ["shape: got 'flatt'; must be one of flat, one_block, chain_thaw"]),
    "shape as a list": (f"shape: [flat]\n{HEAD}", ["shape: got ['flat']; must be one of"]),
    "null": ("head_lr:\n", ["line 1: head_lr: got None; must be a value, a list, or {low: …, high: …}"]),
    "date": ("head_lr: 2020-01-01\n", ["line 1: head_lr: got '2020-01-01'; must be a number"]),
    "true": ("head_lr: true\n", ["line 1: head_lr: got True; must be a number"]),
    "true in a list": ("head_lr: [1, true]\n", ["line 1: head_lr: got True; must be a number"]),
    "true as an end": ("head_lr: {low: true, high: 2}\n", ["line 1: head_lr.low: got True; must be a number"]),
    "true as a step": (
        "head_lr: {low: 1, high: 2, step: true}\n", ["line 1: head_lr.step: got True; must be a number"],
    ),
    "text": ("head_lr: fast\n", ["line 1: head_lr: got 'fast'; must be a number"]),
    "quoted": ("head_lr: '1e-3'\n", ["line 1: head_lr: got '1e-3'; must be a number"]),
    "share of a rate": ("head_lr: 40%\n", ["line 1: head_lr: got '40%'; must be a number"]),
    "nested": ("head_lr: {low: {a: 1}, high: 2}\n", ["line 1: head_lr.low: got {'a': 1}; must be a number"]),
    "nested list": ("head_lr: [[1, 2]]\n", ["line 1: head_lr: got [[1, 2]]; a list must hold"]),
    "empty list": ("head_lr: []\n", ["line 1: head_lr: got []; a list must hold at least one"]),
    "null in a list": ("head_lr: [1, null]\n", ["line 1: head_lr: got [1, None]; a list must hold"]),
    "nan": ("head_lr: {low: .nan, high: 1}\n", ["line 1: head_lr.low: got nan; must be a number > 0"]),
    "zero": ("head_lr: 0\n", ["line 1: head_lr: got 0; must be a number > 0"]),
    "overflow": ("head_lr: 1e400\n", ["line 1: head_lr: got inf; must be a number > 0"]),
    "huge whole number": (f"head_lr: {'9' * 400}\n", ["line 1: head_lr: got a number that is out of all"]),
    "huge end": (f"head_lr: {{low: 1, high: {'9' * 400}}}\n", ["line 1: head_lr.high: got a number that"]),
    "upside down": ("head_lr: {low: 1, high: 0.1}\n", ["line 1: head_lr: low is 1 and high is 0.1; low must"]),
    "log from zero": (
        f"{HEAD}weight_decay: {{low: 0, high: 1, log: true}}\n", ["line 2: weight_decay.low: got 0; must be > 0"],
    ),
    "log as text": ("head_lr: {low: 1, high: 2, log: maybe}\n", ["line 1: head_lr.log: got 'maybe'; must be true"]),
    "log as a number": ("head_lr: {low: 1, high: 2, log: 1}\n", ["line 1: head_lr.log: got 1; must be true or"]),
    "step quoted": ("head_lr: {low: 1, high: 2, step: '1'}\n", ["line 1: head_lr.step: got '1'; must be a number"]),
    "huge number": ("head_lr: 1e305\n", ["line 1: head_lr: got a number that is out of all range"]),
    "share in another spelling": (f"{HEAD}warmup_epochs: 4_0%\n", ["line 2: warmup_epochs: got '4_0%'; must be"]),
    "log and step": ("head_lr: {low: 1, high: 2, log: true, step: 1}\n", ["line 1: head_lr.step: got 1; must"]),
    "log of epochs": (
        f"{HEAD}warmup_epochs: {{low: 1, high: 2, log: true}}\n", ["line 2: warmup_epochs.log: this axis is drawn"],
    ),
    "share above one": (
        f"{HEAD}warmup_epochs: {{low: 0, high: 140%}}\n",
        ["line 2: warmup_epochs.high: got '140%'; must be a number of epochs, or a share of the run such as 40%"],
    ),
    "no number of a share": (f"{HEAD}warmup_epochs: nan%\n", ["line 2: warmup_epochs: got 'nan%'; must be"]),
    "negative depth": (f"{HEAD}unfreeze_depth: -1\n", ["line 2: unfreeze_depth: got -1; must be a number >= 0"]),
    "depth in words": (
        f"{HEAD}unfreeze_depth: most\n", ["line 2: unfreeze_depth: got 'most'; must be a number, all, or a share"],
    ),
    "batch of half an image": (f"{HEAD}batch_size: 32.5\n", ["line 2: batch_size: got 32.5; must be a whole"]),
    "batch true": (f"{HEAD}batch_size: true\n", ["line 2: batch_size: got True; must be a whole number"]),
    "batch quoted": (f"{HEAD}batch_size: '32'\n", ["line 2: batch_size: got '32'; must be a whole number"]),
    "batch from nothing": (
        f"{HEAD}batch_size: {{low: 0, high: 8.5}}\n",
        ["line 2: batch_size.low: got 0; must be", "line 2: batch_size.high: got 8.5; must be a whole number"],
    ),
    "decay true": (f"{HEAD}weight_decay: true\n", ["line 2: weight_decay: got True; must be a number"]),
    "end beyond the regime": (
        f"{HEAD}weight_decay: {{low: 0, high: 100}}\nmomentum: {{low: 0, high: 1}}\n",
        ["line 2: weight_decay.high: got 100; must be less than", "line 3: momentum.high: got 1; must be less"],
    ),
    "range of words": (
        f"{HEAD}optimizer: {{low: 0, high: 1}}\ncurve: {{low: 0, high: 1}}\n",
        ["line 2: optimizer: got a range; must be one or a list of adamw, sgd", "line 3: curve: got a range"],
    ),
    "word": (f"{HEAD}rates: [one, two]\n", ["line 2: rates: got 'two'; must be one of one, decay, per_group"]),
    "number for a switch": (f"{HEAD}freeze_stem: 1\n", ["line 2: freeze_stem: got 1; must be one of False, True"]),
    "yaml 1.1 yes": (f"{HEAD}freeze_stem: yes\n", ["line 2: freeze_stem: got 'yes'; must be one of False, True"]),
    "views beside erase": (f"{HEAD}views: spin\nerase: 0.5\n", ["line 2: views: got 'spin'"]),
    "views": (f"{HEAD}views: spin\n", ["line 2: views: got 'spin'; must be none, flip, bank:K with K in 2..99"]),
    "bank of one": (f"{HEAD}views: [flip, bank:1]\n", ["line 2: views: got 'bank:1'; must be none, flip, bank:K"]),
    "range of views": (f"{HEAD}views: {{low: 1, high: 8}}\n", ["line 2: views: got a range; must be one or a list of"]),
    "views as a number": (f"{HEAD}views: 8\n", ["line 2: views: got 8; must be text"]),
    "erase more than all": (
        f"{HEAD}views: online\nerase: {{low: 0, high: 1.5}}\n", ["line 3: erase.high: got 1.5; must be less than"],
    ),
    "erase without crops": (
        f"{HEAD}erase: {{low: 0, high: 0.5}}\n", ["line 2: erase: only in crops is anything erased, and views is flip"],
    ),
    "erase without any crops": (
        f"{HEAD}views: [none, flip]\nerase: 0.5\n",
        ["line 3: erase: only in crops is anything erased, and views is none or flip: choose bank:K or online"],
    ),
    "views and erase": (
        f"{HEAD}views: bank:0\nerase: -1\n", ["line 2: views: got 'bank:0'", "line 3: erase: got -1; must be"],
    ),
    "mixup as a key": (f"{HEAD}mixup: 0.2\n", ["line 2: mixup: mixup mixes an image with a partner, so that a view"]),
    "cutmix as a view": (f"{HEAD}views: [flip, cutmix]\n", ["line 2: views: cutmix mixes an image with a partner"]),
    "key twice": (f"{HEAD}head_lr: 1\n", ['line 2: found duplicate key "head_lr"']),
    "tag": ("head_lr: !foo 3\n", ["line 1: the tag !foo has no meaning here; leave it out"]),
    "all at once": (
        "warmup: 3\nunfreeze_depth: {hihg: all, low: 0}\nbackbone_ratio: -1\nviews: mixup\n",
        [
            f"line 1: warmup: {UNKNOWN} warmup_epochs?",
            "line 2: unfreeze_depth.high: missing",
            f"line 2: unfreeze_depth.hihg: {UNKNOWN} high?",
            "line 3: backbone_ratio: got -1; must be a number > 0",
            "line 4: views: mixup mixes",
            "head_lr: missing",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "problems"), BAD.values(), ids=BAD.keys())
def test_a_wrong_space_is_refused_with_all_its_problems_and_lines(text, problems):
    with pytest.raises(ConfigError) as caught:
        SpaceSpec.from_text(text, name="mine.yaml")
    assert len(caught.value.problems) == len(problems)
    for found, expected in zip(caught.value.problems, problems, strict=True):
        assert found.startswith(expected)
    assert caught.value.where == "mine.yaml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "unfreeze_depth: 5",
            "unfreeze_depth: got 5; must be all, a share in 0..1, or a whole number in 0..4",
        ),
        ("unfreeze_depth: 2.5", "unfreeze_depth: got 2.5"),
        ("unfreeze_depth: {low: 0, high: 5}", "unfreeze_depth: got 5"),
        (
            "unfreeze_depth: {low: 3, high: 50%}",
            "unfreeze_depth: low is 3 and high is 2 for this model and run",
        ),
        ("warmup_epochs: 7", "warmup_epochs: got 7; must lie in 0..6, the run's length"),
        ("warmup_epochs: [0, 7]", "warmup_epochs: got 7"),
        ("warmup_epochs: {low: 0, high: 7}", "warmup_epochs: got 7"),
        ("warmup_epochs: {low: 4, high: 40%}", "warmup_epochs: low is 4 and high is 2.4"),
        ("lr_ramp_epochs: 7", "lr_ramp_epochs: got 7"),
        (
            "shape: one_block\nblock: 4",
            "block: got 4; must be all, a share such as 50%, or a whole number in 0..3",
        ),
        ("shape: one_block\nblock: 1.5", "block: got 1.5"),
        ("shape: one_block\nblock: {low: 0, high: 9}", "block: got 9"),
    ],
)
def test_a_space_that_does_not_fit_the_model_or_the_run_is_refused_before_anything_is_drawn(text, words):
    spec = SpaceSpec.from_text(f"{HEAD}{text}\n")
    with pytest.raises(ConfigError) as caught:
        spec.resolve(names(5), 6)
    assert words in str(caught.value)


def test_all_axes_that_do_not_fit_are_told_at_once():
    spec = SpaceSpec.from_text(f"{HEAD}unfreeze_depth: 9\nwarmup_epochs: [0, 7]\nlr_ramp_epochs: 8\n")
    with pytest.raises(ConfigError) as caught:
        spec.resolve(names(5), 6)
    told = [problem.partition(":")[0] for problem in caught.value.problems]
    assert told == ["warmup_epochs", "unfreeze_depth", "lr_ramp_epochs"]


def test_every_axis_is_explained_in_a_line():
    known = {name for axes in SCHEDULE_AXES.values() for name in axes} | set(REGIME_AXES)
    assert set(AXIS_WORDS) == known


def test_a_space_is_read_from_a_file_and_named_after_it(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD)
    assert SpaceSpec.load(path).name == "mine"
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        SpaceSpec.load(tmp_path / "none.yaml")


def test_merge_keys_and_anchors_are_read():
    axes = SpaceSpec.from_text("head_lr: &a {low: 1, high: 2}\nbackbone_ratio: {<<: *a, high: 3}\n").axes
    assert axes == {"head_lr": Range(low=1, high=2), "backbone_ratio": Range(low=1, high=3)}


# Baselines as points


@pytest.mark.parametrize("epochs", LENGTHS)
def test_a_placed_baseline_is_drawn_as_its_own_schedule_up_to_the_grid(epochs):
    for n_groups in N_GROUPS:
        fitted = SpaceSpec.load("default").resolve(names(n_groups), epochs)
        for baseline in baselines(n_groups - 1, epochs):
            placed = fitted.place(baseline.params)
            if placed is None:
                assert epochs <= 5 or (n_groups <= 5 and baseline.name == "gradual")
                continue
            study = optuna.create_study(sampler=RandomSampler(seed=0))
            study.enqueue_trial(placed)
            trial = study.ask()
            drawn, regime = fitted.suggest(trial)
            assert trial.params == pytest.approx(placed)  # Optuna took all of it: nothing was out of range
            assert regime == fitted.fixed_regime
            own = recipes.gradual(names(n_groups), epochs, **{**baseline.params, **on_grid(baseline, placed)})
            assert drawn == own
            for key in ("warmup_epochs", "unfreeze_every"):
                grid = fitted.axes[key].step if isinstance(fitted.axes[key], Range) else 0
                assert abs(placed.get(key, 0) - baseline.params[key]) <= grid / 2 + 1e-9


def on_grid(baseline, placed) -> dict:
    """Parameters of the baseline that its point moved: lengths alone may move."""
    return {key: placed[key] for key in ("warmup_epochs", "unfreeze_every") if key in placed}


def test_all_baselines_are_points_of_the_default_space_in_a_usual_run():
    fitted = SpaceSpec.load("default").resolve(names(8), 12)
    assert all(fitted.place(baseline.params) is not None for baseline in baselines(7, 12))


@pytest.mark.parametrize("options", ["[sgd, adamw]", "[adamw, sgd]", "[sgd]"])
def test_a_baseline_has_the_rates_of_the_optimizer_that_it_is_placed_with(options):
    fitted = space(
        f"head_lr: {{low: 1e-4, high: 1, log: true}}\nbackbone_ratio: {{low: 0.01, high: 1, log: true}}\n"
        f"rates: [one, decay]\nunfreeze_depth: {{low: 0, high: all}}\noptimizer: {options}\n"
    )
    rates = {
        name: {b.name: b.params["head_lr"] for b in baselines(fitted.n_backbone, fitted.epochs, name)}
        for name in ("adamw", "sgd")
    }
    for baseline in baselines(fitted.n_backbone, fitted.epochs, fitted.fixed_regime.optimizer):
        placed = fitted.place(baseline.params)
        if placed is not None:
            assert placed["head_lr"] == pytest.approx(rates[placed["optimizer"]][baseline.name])


def test_a_point_outside_the_space_has_no_place():
    fitted = space(
        "head_lr: {low: 1e-3, high: 1e-2, log: true}\nwarmup_epochs: {low: 0, high: 2}\nfreeze_stem: false\n"
    )
    inside = {"head_lr": 2e-3, "warmup_epochs": 1.2, "freeze_stem": False}
    assert fitted.place(inside) == {"head_lr": 2e-3, "warmup_epochs": 1.0}
    assert fitted.place({**inside, "head_lr": 2e-2}) is None
    assert fitted.place({**inside, "warmup_epochs": 3}) is None
    assert fitted.place({**inside, "freeze_stem": True}) is None
    assert fitted.place({**inside, "head_lr": 1e-2 * (1 + 1e-12)})["head_lr"] == 1e-2
