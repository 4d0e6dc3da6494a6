# ruff: noqa: E501 - tables are read by line
"""What trains when, for every recipe and every number of groups."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofreeze import recipes
from autofreeze.errors import ConfigError
from autofreeze.recipes import chain_thaw, frozen_stem, full, gradual, linear_probe, lp_ft, name_of, one_block
from autofreeze.schedule import Phase, Schedule

EACH = settings(max_examples=50, deadline=None)

columns = st.integers(2, 9).map(lambda n: (*(f"g{column}" for column in range(n - 1)), "head"))
epochs = st.one_of(st.integers(1, 40).map(float), st.floats(0.5, 40))
head_lrs = st.floats(1e-5, 1e-1)
ratios = st.floats(1e-3, 1.0)
steps_per_epoch = st.integers(1, 15)


@st.composite
def points(draw):
    """Arguments of ``gradual`` that fit together."""
    groups, length = draw(columns), draw(epochs)
    n_backbone = len(groups) - 1
    depths = st.one_of(st.just("all"), st.integers(0, n_backbone), st.floats(0, 1))
    warmup = draw(st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 1))) * length
    return groups, length, {
        "head_lr": draw(head_lrs),
        "backbone_ratio": draw(ratios),
        "depth_ratio": draw(ratios),
        "rates": draw(st.sampled_from(["one", "decay", "per_group"])),
        "group_offsets": draw(st.lists(st.floats(0.1, 10), min_size=n_backbone, max_size=n_backbone)),
        "warmup_epochs": warmup,
        "unfreeze_depth": draw(depths),
        "unfreeze_every": draw(st.one_of(st.just(0.0), st.floats(0.01, 1))) * length,
        "freeze_stem": draw(st.booleans()),
    }  # fmt: skip


def trainable(schedule: Schedule) -> list[tuple[bool, ...]]:
    return [tuple(lr is not None for lr in phase.lrs) for phase in schedule.phases]


def depth_of(point: dict, n_backbone: int) -> int:
    depth = point["unfreeze_depth"]
    if depth == "all":
        return n_backbone
    return depth if isinstance(depth, int) else round(depth * n_backbone)


@EACH
@given(points(), steps_per_epoch)
def test_only_the_head_trains_until_the_warmup_ends(point, steps):
    groups, length, arguments = point
    times = gradual(groups, length, **arguments).timetable(steps)
    for step in range(times.total_steps):
        if step + 0.5 < arguments["warmup_epochs"] * steps - 1e-6:
            assert times.trainable(step) == (*[False] * (len(groups) - 1), True)


@EACH
@given(points())
def test_the_trainable_columns_are_a_suffix_that_never_shrinks(point):
    groups, length, arguments = point
    rows = trainable(gradual(groups, length, **arguments))
    for row in rows:
        assert row[-1]
        assert list(row) == sorted(row)
    assert [sum(row) for row in rows] == sorted(sum(row) for row in rows)


@EACH
@given(points())
def test_no_group_below_the_depth_ever_trains_and_all_above_do_when_there_is_time(point):
    groups, length, arguments = point
    schedule = gradual(groups, length, **arguments)
    n_backbone = len(groups) - 1
    lowest = max(n_backbone - depth_of(arguments, n_backbone), 1 if arguments["freeze_stem"] else 0)
    assert schedule.unfreeze_depth <= n_backbone - lowest
    last_thaw = arguments["warmup_epochs"] + arguments["unfreeze_every"] * (n_backbone - lowest - 1)
    if last_thaw < length - 1e-6:
        assert schedule.unfreeze_depth == max(n_backbone - lowest, 0)


@EACH
@given(points())
def test_a_spared_stem_never_trains(point):
    groups, length, arguments = point
    schedule = gradual(groups, length, **{**arguments, "freeze_stem": True})
    assert not any(row[0] for row in trainable(schedule))


@EACH
@given(points())
def test_the_phases_add_up_to_the_run(point):
    groups, length, arguments = point
    assert gradual(groups, length, **arguments).epochs == round(length, 9)
    rest = {"head_lr": 1e-3, "backbone_ratio": 0.1}
    assert chain_thaw(groups, length, **rest).epochs == round(length, 9)
    assert one_block(groups, length, block=0, warmup_epochs=length / 3, **rest).epochs == round(length, 9)


@EACH
@given(points())
def test_a_group_keeps_its_rate_once_thawed(point):
    groups, length, arguments = point
    schedule = gradual(groups, length, **arguments)
    for column in range(len(groups)):
        assert len({phase.lrs[column] for phase in schedule.phases} - {None}) <= 1
    assert schedule.phases[0].lrs[-1] == pytest.approx(arguments["head_lr"], rel=1e-5)


@EACH
@given(columns, epochs, head_lrs, ratios, ratios, st.integers(1, 8))
def test_rates_are_one_or_decay_or_free(groups, length, head_lr, ratio, depth_ratio, depth):
    n_backbone = len(groups) - 1
    depth = min(depth, n_backbone)
    given_rates = {"head_lr": head_lr, "backbone_ratio": ratio, "unfreeze_depth": depth}
    top = pytest.approx(head_lr * ratio, rel=1e-4)

    one = full(groups, length, rates="one", depth_ratio=depth_ratio, **given_rates).phases[0].lrs
    assert all(lr == top for lr in one[n_backbone - depth : n_backbone])

    decay = full(groups, length, rates="decay", depth_ratio=depth_ratio, **given_rates).phases[0].lrs
    assert decay[n_backbone - 1] == top
    if depth > 1:
        lowest, highest = decay[n_backbone - depth], decay[n_backbone - 1]
        assert lowest / highest == pytest.approx(depth_ratio, rel=1e-4)
        steps = [decay[c] / decay[c + 1] for c in range(n_backbone - depth, n_backbone - 1)]
        assert steps == [pytest.approx(steps[0], rel=1e-4)] * len(steps)

    offsets = [1.0 + turn for turn in range(n_backbone)]
    free = full(groups, length, rates="per_group", group_offsets=offsets, **given_rates).phases[0].lrs
    for turn in range(depth):
        assert free[n_backbone - 1 - turn] == pytest.approx(head_lr * ratio * (turn + 1), rel=1e-4)


# Recipes are points of one family


@EACH
@given(points())
def test_full_is_lp_ft_without_a_warmup_and_lp_ft_is_gradual_all_at_once(point):
    groups, length, arguments = point
    rest = {k: v for k, v in arguments.items() if k not in ("warmup_epochs", "unfreeze_every")}
    assert full(groups, length, **rest) == lp_ft(groups, length, warmup_epochs=0.0, **rest)
    warmup = arguments["warmup_epochs"]
    at_once = gradual(groups, length, warmup_epochs=warmup, unfreeze_every=0, **rest)
    assert lp_ft(groups, length, warmup_epochs=warmup, **rest) == at_once
    assert len(at_once.phases) <= 2


@EACH
@given(points())
def test_a_linear_probe_is_depth_0_and_so_is_a_warmup_as_long_as_the_run(point):
    groups, length, arguments = point
    probe = linear_probe(groups, length, head_lr=arguments["head_lr"])
    assert gradual(groups, length, **{**arguments, "unfreeze_depth": 0}) == probe
    assert gradual(groups, length, **{**arguments, "warmup_epochs": length}) == probe
    assert (probe.unfreeze_depth, probe.warmup_epochs) == (0, probe.epochs)


@EACH
@given(columns.filter(lambda groups: len(groups) >= 4), epochs, st.data())
def test_a_recipe_is_known_by_its_table(groups, length, data):
    rates = {"head_lr": 1e-3, "depth_ratio": data.draw(ratios)}
    some = data.draw(st.floats(0.1, 0.9)) * length
    n_backbone = len(groups) - 1
    every = (length - some) / (n_backbone + 1)
    assert name_of(linear_probe(groups, length, head_lr=1e-3)) == "linear_probe"
    assert name_of(full(groups, length, **rates)) == "full"
    assert name_of(frozen_stem(groups, length, **rates)) == "frozen_stem"
    assert name_of(lp_ft(groups, length, warmup_epochs=some, **rates)) == "lp_ft"
    assert name_of(gradual(groups, length, warmup_epochs=some, unfreeze_every=every, **rates)) == "gradual"
    assert name_of(gradual(groups, length, unfreeze_every=every, **rates)) == "gradual"
    assert name_of(chain_thaw(groups, length, head_lr=1e-3)) == "chain_thaw"
    part = data.draw(st.integers(1, n_backbone - 2))
    assert name_of(full(groups, length, unfreeze_depth=part, **rates)) == "last_groups"
    block = data.draw(st.integers(0, n_backbone - 2))
    warmup = data.draw(st.sampled_from([0.0, some]))
    assert name_of(one_block(groups, length, block=block, head_lr=1e-3, warmup_epochs=warmup)) == "one_block"


@pytest.mark.parametrize(
    "rows",
    [
        [[None, 1, 1, 1], [None, None, 1, 1]],  # frozen again
        [[None, 1, None, 1], [1, None, None, 1]],  # two blocks in turn
        [[None, 1, None, 1], [None, None, None, 1]],  # the warm-up last
        [[1, 1, None, 1]],
        [[1, None, None, None]],
    ],
)
def test_a_table_that_no_recipe_gives_is_custom(rows):
    phases = tuple(Phase(epochs=1, lrs=tuple(row)) for row in rows)
    assert name_of(Schedule(groups=("a", "b", "c", "head"), phases=phases)) == "custom"


# Shapes that are no suffix


@EACH
@given(columns, epochs, st.data())
def test_one_block_trains_the_head_and_that_group_after_the_warmup(groups, length, data):
    block = data.draw(st.integers(0, len(groups) - 2))
    warmup = data.draw(st.sampled_from([0.0, length / 3]))
    schedule = one_block(groups, length, block=block, head_lr=1e-3, backbone_ratio=0.5, warmup_epochs=warmup)
    expected = tuple(column in (block, len(groups) - 1) for column in range(len(groups)))
    assert trainable(schedule)[-1] == expected
    assert schedule.phases[-1].lrs[block] == pytest.approx(5e-4)
    assert schedule.warmup_epochs == pytest.approx(warmup, abs=1e-8)


@EACH
@given(columns, epochs)
def test_chain_thaw_trains_one_group_at_a_time_from_the_stem_up(groups, length):
    schedule = chain_thaw(groups, length, head_lr=1e-3, backbone_ratio=0.2)
    n = len(groups)
    turns = [n - 1, *range(n - 1)]
    alone = [tuple(column == turn for column in range(n)) for turn in turns]
    assert trainable(schedule) == [*alone, (True,) * n]
    assert all(phase.epochs == pytest.approx(length / (n + 1), abs=2e-9) for phase in schedule.phases)
    assert schedule.phases[-1].lrs == (*[pytest.approx(2e-4)] * (n - 1), 1e-3)


# Time


def test_gradual_thaws_one_group_at_each_turn():
    schedule = gradual(
        ("a", "b", "c", "head"), 10, head_lr=1, warmup_epochs=1.5, unfreeze_every=2, freeze_stem=True
    )
    assert [phase.epochs for phase in schedule.phases] == [1.5, 2, 6.5]
    assert trainable(schedule) == [
        (False, False, False, True),
        (False, False, True, True),
        (False, True, True, True),
    ]


def test_a_group_whose_turn_lies_beyond_the_run_stays_frozen():
    schedule = gradual(("a", "b", "c", "head"), 5, head_lr=1, warmup_epochs=1, unfreeze_every=3)
    assert [phase.epochs for phase in schedule.phases] == [1, 3, 1]
    assert schedule.unfreeze_depth == 2


@pytest.mark.parametrize(
    ("depth", "groups"),
    [("all", 4), (0, 0), (3, 3), (4, 4), (0.5, 2), (0.0, 0), (1.0, 4), (0.3, 1)],
)
def test_a_depth_is_all_or_a_share_or_a_number_of_groups(depth, groups):
    assert recipes.resolve_depth(depth, 4) == groups


# What is refused

NAMES = ("a", "b", "head")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: full(NAMES, 5, head_lr=1, unfreeze_depth=3), ["unfreeze_depth: got 3; must be all, a share"]),
        (lambda: full(NAMES, 5, head_lr=1, unfreeze_depth=-1), ["unfreeze_depth: got -1"]),
        (lambda: full(NAMES, 5, head_lr=1, unfreeze_depth=1.6), ["unfreeze_depth: got 1.6"]),
        (lambda: lp_ft(NAMES, 5, head_lr=1, warmup_epochs=6), ["warmup_epochs: got 6; must lie in 0..5"]),
        (lambda: lp_ft(NAMES, 5, head_lr=1, warmup_epochs=math.nan), ["warmup_epochs: got nan"]),
        (
            lambda: full(NAMES, 5, head_lr=1, rates="per_group", group_offsets=[1]),
            ["group_offsets: got 1; must be one for each of 2 groups"],
        ),
        (
            lambda: one_block(NAMES, 5, block=2, head_lr=1, warmup_epochs=9),
            ["block: got 2; must lie in 0..1", "warmup_epochs: got 9; must lie in 0..5"],
        ),
        (lambda: full(NAMES, 5, head_lr=-1.0), ["lrs.0: got -0.1; must be greater than 0"]),
        (lambda: full(NAMES, 5, head_lr=1, curve="cos"), ["curve: got 'cos'"]),
        (lambda: chain_thaw(NAMES, 5, head_lr=1, lr_ramp_epochs=6), ["lr_ramp_epochs: got 6; must not exceed"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(build, words):
    with pytest.raises(ConfigError) as caught:
        build()
    for word in words:
        assert word in str(caught.value)
