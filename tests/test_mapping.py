"""A schedule on another backbone: matched by share of work, and still the schedule that it was."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofreeze import recipes
from autofreeze.errors import ConfigError
from autofreeze.mapping import map_groups, mapping_words
from autofreeze.schedule import Phase, Schedule

OLD = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
SHARES = (0.06, 0.2, 0.2, 0.24, 0.29, 0.01)
RATES = {"head_lr": 1e-3}

measured = st.lists(st.floats(0.01, 1), min_size=1, max_size=9)
work = st.one_of(st.just(0.0), st.floats(0, 1), st.floats(0, 1e-300))


def names(prefix: str, columns: int) -> tuple[str, ...]:
    return (*(f"{prefix}{column}" for column in range(columns - 1)), "head")


@st.composite
def backbones(draw):
    """Groups of a model and their shares of work, some without work; or shares that nobody knows."""
    columns = draw(st.integers(2, 9))
    shares = draw(st.lists(work, min_size=columns, max_size=columns))
    return names(draw(st.sampled_from("ab")), columns), draw(st.sampled_from([(), tuple(shares)]))


@st.composite
def carried(draw):
    """A schedule, its model's shares, another model, and the schedule on that one."""
    groups, shares = draw(backbones())
    row = st.lists(st.sampled_from([None, 1e-3, 1e-4]), min_size=len(groups), max_size=len(groups))
    rows = draw(st.lists(row.filter(any), min_size=1, max_size=5))
    schedule = Schedule(
        groups=groups,
        phases=tuple(Phase(epochs=number + 0.5, lrs=tuple(lrs)) for number, lrs in enumerate(rows)),
        curve=draw(st.sampled_from(["constant", "cosine"])),
        curve_over=draw(st.sampled_from(["run", "phase"])),
        lr_ramp_epochs=draw(st.sampled_from([0.0, 0.25])),
    )
    other, other_shares = draw(backbones())
    return schedule, shares, other, other_shares, map_groups(schedule, shares, other, other_shares)


def depth(lrs) -> int:
    """Backbone groups that train, counted from the head, where no hole is among them; else -1."""
    trains = [lr is not None for lr in lrs[:-1]]
    return sum(trains) if trains == sorted(trains) else -1


@settings(max_examples=100, deadline=None)
@given(carried())
def test_on_a_model_with_the_same_shares_it_is_the_same_table(case):
    schedule, shares, *_ = case
    other = names("other", len(schedule.groups))
    assert map_groups(schedule, shares, other, shares) == schedule.model_copy(update={"groups": other})


@settings(max_examples=150, deadline=None)
@given(carried())
def test_rows_and_head_are_kept_and_every_row_trains_what_it_can(case):
    schedule, _, other, _, mapped = case
    assert mapped.groups == other
    kept = ("curve", "curve_over", "lr_ramp_epochs", "epochs")
    assert [getattr(mapped, name) for name in kept] == [getattr(schedule, name) for name in kept]
    for before, after in zip(schedule.phases, mapped.phases, strict=True):
        assert after.epochs == before.epochs
        assert after.lrs[-1] == before.lrs[-1]
        assert set(after.lrs[:-1]) <= set(before.lrs[:-1])
        assert any(after.lrs[:-1]) == any(before.lrs[:-1])


@settings(max_examples=150, deadline=None)
@given(backbones(), backbones())
def test_the_matching_never_goes_down_and_all_of_the_new_backbone_is_matched(old, new):
    rising = Schedule(groups=old[0], phases=(Phase(epochs=1, lrs=range(1, len(old[0]) + 1)),))
    cells = map_groups(rising, old[1], *new).phases[0].lrs
    assert list(cells) == sorted(cells)


@settings(max_examples=150, deadline=None)
@given(backbones(), backbones(), st.data())
def test_what_thaws_from_the_head_down_still_does(old, new, data):
    depths = data.draw(st.lists(st.integers(0, len(old[0]) - 1), min_size=1, max_size=5).map(sorted))
    rows = tuple(
        Phase(epochs=1, lrs=[*[None] * (len(old[0]) - 1 - deep), *[1e-4] * deep, 1e-3]) for deep in depths
    )
    mapped = [
        depth(phase.lrs) for phase in map_groups(Schedule(groups=old[0], phases=rows), old[1], *new).phases
    ]
    assert -1 not in mapped
    assert mapped == sorted(mapped)
    for before, after in zip(depths, mapped, strict=True):
        assert (after == 0) == (before == 0)
        assert after == len(new[0]) - 1 or before < len(old[0]) - 1


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=9), st.lists(st.floats(0.01, 1), min_size=1, max_size=9)
)
def test_the_share_of_the_backbone_that_trains_is_kept_to_half_a_group(old, new):
    groups, other = names("a", len(old) + 1), names("b", len(new) + 1)
    for deep in range(1, len(old) + 1):
        schedule = recipes.full(groups, 3, **RATES, unfreeze_depth=deep)
        mapped = map_groups(schedule, (*old, 0.3), other, (*new, 0.01))
        before = sum(old[len(old) - deep :]) / sum(old)
        after = sum(new[len(new) - mapped.unfreeze_depth :]) / sum(new)
        if 2 * before < new[-1] / sum(new):
            assert mapped.unfreeze_depth == 1  # less than half of the last group: it trains all the same
        else:
            assert abs(after - before) <= max(new) / sum(new) / 2 + 1e-9


@pytest.mark.parametrize("columns", [2, 3, 6, 12, 30])
@pytest.mark.parametrize(
    "recipe",
    [
        recipes.linear_probe(OLD, 6, **RATES),
        recipes.full(OLD, 6, **RATES),
        recipes.lp_ft(OLD, 6, **RATES, warmup_epochs=1),
    ],
    ids=recipes.name_of,
)
def test_a_recipe_keeps_its_name(recipe, columns):
    new = names("blocks.", columns)
    assert recipes.name_of(map_groups(recipe, SHARES, new, (1 / columns,) * columns)) == recipes.name_of(
        recipe
    )


def test_the_last_half_of_the_work_stays_the_last_half():
    half = recipes.full(names("a", 5), 6, **RATES, unfreeze_depth=2)
    for columns in (3, 5, 9, 13):
        new = names("b", columns)
        assert map_groups(half, (0.25,) * 4 + (0,), new, (1,) * columns).unfreeze_depth == (columns - 1) / 2


def test_a_group_without_work_goes_with_what_lies_beside_it():
    new = ("stem", "blocks.0-5", "blocks.6-11", "norm", "head")
    mapped = map_groups(
        recipes.full(OLD, 6, **RATES, unfreeze_depth=2), SHARES, new, (0.0, 0.5, 0.5, 0.0, 0.0)
    )
    assert [lr is not None for lr in mapped.phases[0].lrs] == [False, False, True, True, True]


def test_groups_that_train_alone_are_not_lost_where_the_new_ones_are_few():
    thawed = recipes.chain_thaw(OLD, 7, **RATES)
    mapped = map_groups(thawed, SHARES, ("lower", "upper", "head"), (0.5, 0.49, 0.01))
    trains = [tuple(lr is not None for lr in phase.lrs) for phase in mapped.phases]
    lower, upper, head = (True, False, False), (False, True, False), (False, False, True)
    assert trains == [head, lower, lower, lower, upper, upper, (True, True, True)]


def test_of_groups_that_would_all_be_lost_the_largest_trains():
    row = Phase(epochs=1, lrs=(None, None, 1e-4, 2e-4, None, 1e-3))
    schedule = Schedule(groups=OLD, phases=(row,))
    assert map_groups(schedule, SHARES, names("b", 3), (0.5, 0.5, 0)).phases[0].lrs == (None, 2e-4, 1e-3)


# In words


def test_the_words_name_every_group_on_both_sides_and_its_work():
    schedule = recipes.lp_ft(OLD, 6, **RATES, warmup_epochs=1)
    new = ("stem", *(f"blocks.{number}" for number in range(6)), "norm", "head")
    assert mapping_words(schedule, SHARES, new, (0.01, *[0.163] * 6, 0, 0.012)) == (
        "stem (1 % of the work) <- stem (6 % of the work)",
        "blocks.0 to blocks.1 (33 % of the work) <- layer1 (20 % of the work)",
        "blocks.2 (16 % of the work) <- layer2 (20 % of the work)",
        "blocks.3 (16 % of the work) <- layer3 (24 % of the work)",
        "blocks.4 to norm (33 % of the work) <- layer4 (29 % of the work)",
        "head <- head",
    )


def test_the_words_tell_what_is_lost_and_what_trains_instead():
    schedule = recipes.one_block(OLD, 6, **RATES, block=2)
    assert mapping_words(schedule, (), ("lower", "upper", "head"), ()) == (
        "lower <- layer1",
        "upper <- layer3",
        "head <- head",
        "nothing <- stem",
        "nothing <- layer2",
        "nothing <- layer4",
        "phase 0: upper <- layer2, so that it trains some",
    )


# Mistakes


@pytest.mark.parametrize(
    ("groups", "shares", "problems"),
    [
        (("head",), (), ["groups: got head; must be a backbone group and a head"]),
        (
            (),
            (1.0,),
            ["groups: got none; must be", "work_shares: got 1; must be one for each of the 0 groups"],
        ),
        (("stem", "head"), (0.5, 0.4, 0.1), ["work_shares: got 3; must be one for each of the 2 groups"]),
        (("stem", "head"), (-0.5, float("nan")), ["work_shares: got -0.5", "work_shares: got nan"]),
    ],
)
def test_a_model_that_nothing_can_be_mapped_to_is_refused_with_all_its_problems(groups, shares, problems):
    schedule = recipes.full(OLD, 6, **RATES)
    for call in (map_groups, mapping_words):
        with pytest.raises(ConfigError) as refused:
            call(schedule, SHARES, groups, shares)
        assert len(refused.value.problems) == len(problems)
        for found, expected in zip(refused.value.problems, problems, strict=True):
            assert found.startswith(expected)
