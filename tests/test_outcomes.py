"""What a study asks of earlier trials: the indexes say what walking over all of them would."""

import random

from autofreeze.confirmation import arm_of
from autofreeze.curves import StudyCurves
from autofreeze.outcomes import USABLE, Outcomes
from autofreeze.results import Ending, rank

ENDINGS = (*USABLE, Ending.COMPLETE, Ending.FAILED, Ending.TOO_DEAR, Ending.NOT_COMPARABLE)


def some_results(made_result, n=60):
    rng = random.Random(3)
    results = []
    for number in range(n):
        ending = rng.choice(ENDINGS)
        value = rng.choice((0.7, 0.8, 0.8, 0.9)) if ending is Ending.COMPLETE else None
        name = rng.choice(sorted(made_result.schedules))
        results.append(made_result.trial(number, name, value, ending=ending))
    return results


def test_indexes_say_what_walking_over_all_trials_would(made_result):
    results, ended = some_results(made_result), Outcomes()
    for place, result in enumerate(results, start=1):
        ended.add(result)
        so_far = results[:place]
        complete = [one for one in so_far if one.ending is Ending.COMPLETE]
        assert ended.best == max(complete, key=rank, default=None)
        assert ended.dear == sum(one.ending is Ending.TOO_DEAR for one in so_far)
        for arm in ("freeze_first", "at_once"):
            assert ended.complete_in(arm) == sum(arm_of(one.schedule) == arm for one in complete)
        for spared in (False, True):
            usable = (
                one
                for one in so_far
                if one.ending in USABLE
                and not (spared and one.ending is Ending.UNPROMISING)
                and one.settings_digest == result.settings_digest
            )
            assert ended.twin_of(result.settings_digest, spared=spared) == next(usable, None)
    assert list(ended) == results


def test_trials_under_way_stand_between_those_that_have_ended(made_result):
    ended = Outcomes([made_result.trial(0, "full", 0.8), made_result.trial(2, "lp_ft", 0.8)])
    live = made_result.trial(1, "decay", None, ending=Ending.UNFINISHED)
    assert [one.number for one in ended.with_unfinished([live])] == [0, 1, 2]


def test_peers_are_the_other_trials_of_a_fold_that_can_be_compared(made_up):
    first, second = made_up.curve(made_up.job(0)), made_up.curve(made_up.job(1))
    curves = StudyCurves({(0, 0): first, (1, 0): second, (1, 1): second[:1]})
    assert curves.peers(0, 0) == [second]
    assert curves.peers(2, 0) == [first, second]
    assert curves.peers(0, 1) == [second[:1]]
    curves.append(2, 0, first[0])
    assert curves.peers(1, 0) == [first, first[:1]]
    curves.append(2, 0, first[1].model_copy(update={"comparable": False}))
    assert curves.peers(1, 0) == [first]
    assert len(curves.of(2)[0]) == 2


def test_a_sweep_that_has_ended_is_told_by_its_chosen_head(made_up):
    heads = [made_up.curve(made_up.job(), skill=skill) for skill in (0.9, 0.2)]
    raw = list(made_up.sweep(heads))
    curves = StudyCurves({(4, 0): raw})
    assert curves.told(4, 0) == raw
    curves.settle(4, 1)
    assert [one.value for one in curves.peers(0, 0)[0]] == [one.value for one in heads[1]]
    assert curves.of(4)[0] == raw
