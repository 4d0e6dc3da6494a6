"""The surrogate: what it plays, what it holds for true, and that it is as lucky as what it was fitted to."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from autofreeze.baselines import baselines
from autofreeze.cost import run_work
from autofreeze.errors import ConfigError
from autofreeze.job import EpochRecord, Job
from autofreeze.metrics import pack_classes, score
from autofreeze.recipes import gradual
from autofreeze.recorded.fidelity import measure_error
from autofreeze.recorded.fitting import fit_surrogate
from autofreeze.recorded.landscape import Process
from autofreeze.recorded.luck import Crossed, both_above, correlation_of, fit_luck, worth_of
from autofreeze.recorded.tables import CellFacts, RecordedRun, RecordedTable
from autofreeze.regime import Regime
from autofreeze.splits import Split
from autofreeze.stability import why_unstable

GROUPS = ("stem", "layer1", "layer2", "head")
SHARES = (0.4, 0.3, 0.2, 0.1)
N, N_VAL, EPOCHS = 200, 60, 3
LABELS = np.arange(N) % 2
IMAGE, PAIRING = 0.5, 0.2
REGIME = Regime(batch_size=35)


def worth(schedule):
    """What a made-up schedule is worth: high head rates are good, a deep thaw is bad."""
    rate = max(phase.lrs[-1] for phase in schedule.phases)
    return 1.0 + 0.6 * math.log10(rate / 1e-3) - 0.15 * schedule.unfreeze_depth


class World:
    """Runs whose luck has known parts."""

    def __init__(self, seed=0):
        self.image = np.random.default_rng([seed, 1]).normal(size=N)
        self.seed = seed

    def run(self, schedule, seed, val, fresh=None, origin="made up", trial=0, spike=False):
        job = Job(trial=trial, fold=0, fresh=fresh, seed=seed, schedule=schedule, regime=REGIME)
        digest = int(job.settings_digest[:8], 16)
        pairing = np.random.default_rng([self.seed, 2, digest]).normal(size=N)
        rest = np.random.default_rng([self.seed, 3, digest, seed]).normal(size=N)
        deviates = (
            math.sqrt(IMAGE) * self.image
            + math.sqrt(PAIRING) * pairing
            + math.sqrt(1 - IMAGE - PAIRING) * rest
        )
        timetable = schedule.timetable(4)
        records = []
        for epoch, end in enumerate(timetable.epoch_ends):
            margin = worth(schedule) - 0.4 * (EPOCHS - 1 - epoch) + deviates
            predicted = np.where(margin > 0, LABELS, 1 - LABELS)[val]
            value = score("top1", LABELS[val], predicted, 0.0)
            loss = math.exp(-1.5 * value)
            rates = timetable.rates(end - 1)
            records.append(
                EpochRecord(
                    epoch=epoch, epochs_done=end / 4, step=end, train_loss=30.0 if spike and epoch else loss,
                    train_top1=value, phase_start_loss=1.0, val_loss=loss, value=value,
                    predicted=pack_classes(predicted), n_val=len(val), rates=rates,
                    grad_norms=tuple(None if rate is None else 1.0 for rate in rates),
                    grad_norms_max=tuple(None if rate is None else 2.0 for rate in rates),
                    work=10.0 * end, seconds=1.0 * end, last=end == timetable.total_steps,
                    epochs_since_unfreeze=(end - timetable.last_unfreeze) / 4,
                )
            )  # fmt: skip
        return RecordedRun(
            origin=origin, job=job, n_train=N - N_VAL, val=tuple(val.tolist()), records=tuple(records)
        )


def facts(kind, **changed):
    given = dict(
        kind=kind, data="made up", fingerprint="f", model="m", weights="w", source="s", image_size=32,
        epochs=EPOCHS, metric="top1", seed=0, groups=GROUPS, work_shares=SHARES, classes=("a", "b"),
        labels=tuple(LABELS.tolist()), train=tuple(range(N)), command="", versions={}, machine={},
    )  # fmt: skip
    return CellFacts(**{**given, **changed})


def some_schedules(n, seed=5):
    rng = np.random.default_rng(seed)
    return [
        gradual(
            GROUPS, EPOCHS, head_lr=10 ** rng.uniform(-3.5, -2), backbone_ratio=10 ** rng.uniform(-2, 0),
            unfreeze_depth=int(rng.integers(4)), warmup_epochs=float(rng.integers(3)),
        )
        for _ in range(n)
    ]  # fmt: skip


KNOWN = [gradual(GROUPS, EPOCHS, **one.params) for one in baselines(3, EPOCHS)[:5]]


def cut(seed):
    order = np.random.default_rng(seed).permutation(N)
    return Split(order[N_VAL:], order[:N_VAL])


@pytest.fixture(scope="module")
def tables():
    world = World()
    val = cut(0).val
    runs = [
        world.run(schedule, 0, val, trial=trial)
        for trial, schedule in enumerate([*KNOWN, *some_schedules(60)])
    ]
    runs.append(
        world.run(
            gradual(GROUPS, EPOCHS, head_lr=1.0), 0, val, origin="meant to diverge", trial=99, spike=True
        )
    )
    depth = [
        world.run(schedule, 100 + fresh, cut(100 + fresh).val, fresh=fresh, trial=trial)
        for fresh in range(20)
        for trial, schedule in enumerate(KNOWN)
    ]
    return RecordedTable(facts("breadth"), tuple(runs)), RecordedTable(facts("depth"), tuple(depth))


@pytest.fixture(scope="module")
def surrogate(tables):
    return fit_surrogate(*tables)


def job(schedule, seed=3, fresh=None, trial=0, fold=0):
    return Job(trial=trial, fold=fold, fresh=fresh, seed=seed, schedule=schedule, regime=REGIME)


NEW = some_schedules(8, seed=11)


# What is played


def test_a_run_is_a_pure_function_of_surrogate_job_and_images(surrogate, tables):
    first = surrogate.play(job(NEW[0]), cut(1))
    surrogate.play(job(NEW[1], seed=8), cut(2))
    assert surrogate.play(job(NEW[0], trial=7), cut(1)) == first
    assert surrogate.drawn(0).play(job(NEW[0]), cut(1)) == first
    assert fit_surrogate(*tables).play(job(NEW[0]), cut(1)) == first


@pytest.mark.parametrize("changed", ["seed", "schedule", "images"])
def test_another_seed_schedule_or_draw_gives_another_run(surrogate, changed):
    first = surrogate.play(job(NEW[0]), cut(1))
    other = {
        "seed": lambda: surrogate.play(job(NEW[0], seed=4), cut(1)),
        "schedule": lambda: surrogate.play(job(NEW[1]), cut(1)),
        "images": lambda: surrogate.drawn(1).play(job(NEW[0]), cut(1)),
    }[changed]()
    assert [r.predicted for r in other] != [r.predicted for r in first]


@pytest.mark.parametrize("schedule", [*KNOWN, *NEW[:3]], ids=lambda schedule: schedule.model_dump_json()[:0])
def test_records_are_whole_and_their_figures_fit_one_another(surrogate, schedule):
    given = cut(1)
    records = surrogate.play(job(schedule), given)
    timetable = schedule.timetable(math.ceil(len(given.train) / REGIME.batch_size))
    assert [record.step for record in records] == list(timetable.epoch_ends)
    assert [record.last for record in records] == [False] * (len(records) - 1) + [True]
    for record in records:
        labels = LABELS[given.val]
        assert record.value == score("top1", labels, record.predicted_classes, record.val_loss)
        assert record.rates == timetable.rates(record.step - 1)
        assert (
            record.epochs_since_unfreeze
            == (record.step - timetable.last_unfreeze) / timetable.steps_per_epoch
        )
        assert record.is_finite
        assert record.val_loss > 0
    work = run_work(timetable, SHARES, n_train=len(given.train), n_val=N_VAL)
    assert records[-1].work == pytest.approx(work)
    for before, after in pairwise(records):
        assert before.work < after.work
        assert before.seconds < after.seconds


def test_a_score_is_the_last_records_value(surrogate):
    drawn = surrogate.drawn(2)
    for schedule in NEW:
        assert drawn.score(job(schedule), cut(3)) == drawn.play(job(schedule), cut(3))[-1].value


def test_a_schedule_that_broke_in_the_table_breaks_and_others_do_not(surrogate, tables):
    broken = tables[0].runs[-1].job.schedule
    assert surrogate.break_chance(broken, REGIME) > 0.9
    assert any(why_unstable(record) for record in surrogate.play(job(broken), cut(1)))
    for schedule in KNOWN:
        assert surrogate.break_chance(schedule, REGIME) < 0.1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"regime": Regime(batch_size=8)}, "another regime"),
        ({"schedule": gradual(GROUPS, 5, head_lr=1e-3)}, "3 epochs"),
    ],
)
def test_what_the_table_knows_nothing_of_is_refused(surrogate, changed, message):
    with pytest.raises(ConfigError, match=message):
        surrogate.play(job(NEW[0]).model_copy(update=changed), cut(1))


def test_tables_of_the_wrong_kind_or_of_two_regimes_are_refused(tables):
    breadth, depth = tables
    with pytest.raises(ConfigError, match="in that order"):
        fit_surrogate(depth, breadth)
    odd = breadth.runs[0].model_copy(
        update={"job": breadth.runs[0].job.model_copy(update={"regime": Regime(batch_size=8)})}
    )
    with pytest.raises(ConfigError, match="one regime"):
        fit_surrogate(RecordedTable(breadth.facts, (odd, *breadth.runs[1:])), depth)


# What is true


def test_the_truth_is_the_mean_over_images_and_seeds(surrogate):
    misses = []
    for number in range(1, 25):
        drawn = surrogate.drawn(number)
        schedule = NEW[number % len(NEW)]
        values = [drawn.score(job(schedule, seed=seed), cut(seed)) for seed in range(4)]
        misses.append(np.mean(values) - drawn.truth(schedule, REGIME))
    assert abs(np.mean(misses)) < 3 * np.std(misses) / math.sqrt(len(misses))
    assert np.std(misses) < 0.1


def test_many_truths_are_the_truths_one_by_one(surrogate):
    for drawn in (surrogate, surrogate.drawn(4)):
        one_by_one = [drawn.truth(schedule, REGIME) for schedule in NEW]
        assert drawn.truths(drawn.place(NEW)) == pytest.approx(one_by_one)
        expected = [drawn.expected(schedule, REGIME).values[-1] for schedule in NEW]
        assert expected == pytest.approx(one_by_one)


def test_a_schedule_with_many_seeds_has_its_own_mean_and_not_the_functions(surrogate, tables):
    _, depth = tables
    for schedule in KNOWN:
        values = [run.end.value for run in depth.runs if run.job.schedule == schedule]
        assert surrogate.truth(schedule, REGIME) == pytest.approx(np.mean(values), abs=0.02)


def test_schedules_that_were_never_run_are_ranked_as_they_are_worth(surrogate):
    told = [surrogate.truth(schedule, REGIME) for schedule in NEW]
    true = [norm.cdf(worth(schedule)) for schedule in NEW]
    assert np.corrcoef(told, true)[0, 1] > 0.8


def test_a_curve_rises_as_the_recorded_ones_do(surrogate):
    for schedule in NEW:
        values = surrogate.expected(schedule, REGIME).values
        assert values[-1] > values[0]


# Luck


def test_two_deviates_lie_below_limits_as_often_as_scipy_says():
    for a, b, rho in [(0.3, 1.2, 0.6), (-1.0, 0.5, -0.4), (2.0, 2.0, 0.9), (0.0, 0.0, 0.0)]:
        exact = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([a, b])
        assert float(both_above(np.array([a]), np.array([b]), rho)[0]) == pytest.approx(exact, abs=1e-5)


def test_a_correlation_of_margins_is_found_again():
    first, second, pairs = np.array([0.5, 1.5]), np.array([1.0, 0.2]), np.array([1e6, 2e6])
    both = pairs * both_above(first, second, 0.35)
    assert correlation_of(first, second, pairs, both) == pytest.approx(0.35, abs=1e-3)
    assert correlation_of(first, second, np.zeros(2), np.zeros(2)) == 0.0


def test_runs_without_any_luck_in_common_have_no_correlation():
    rng = np.random.default_rng(0)
    right = (rng.random((4, 24, N)) < 0.85).astype(float)
    for values in Crossed(right, LABELS).correlations().values():
        assert abs(np.median(values)) < 0.1


def test_a_share_is_worth_its_quantile_to_the_letter_and_is_finite_at_the_ends():
    # Shrunk shares would pass for correlations: where nearly all is right, few pairs decide.
    assert float(worth_of(95.0, 100.0)) == pytest.approx(norm.ppf(0.95))
    assert worth_of(np.array([0.0, 50.0]), 50.0) == pytest.approx(norm.ppf([0.01, 0.99]))


def test_the_parts_of_luck_that_were_put_in_are_found(tables):
    breadth, depth = tables
    luck = fit_luck(depth, breadth, np.eye(len(breadth.runs)), "here")
    assert luck.image == pytest.approx(IMAGE, abs=0.12)
    assert luck.pairing == pytest.approx(PAIRING, abs=0.12)
    for share in (luck.seed, luck.seed_class, luck.seed_image, luck.run):
        assert share < 0.1


def test_simulated_runs_vary_and_agree_as_the_recorded_ones(surrogate, tables, monkeypatch):
    monkeypatch.setattr("autofreeze.recorded.fidelity.FOLDS", 4)
    monkeypatch.setattr("autofreeze.recorded.fidelity.DRAWS", 2)
    error = measure_error(surrogate, *tables)
    recorded, simulated = error.paired_spread
    assert simulated == pytest.approx(recorded, rel=0.35)
    assert error.agreement[1] == pytest.approx(error.agreement[0], abs=0.06)
    assert error.value_rank > 0.4
    assert 0 < error.value_rmse < 0.15
    assert error.noise_from == "this cell"
    assert len(error.lines()) == 6


def test_luck_of_another_cell_is_borrowed_and_said_to_be(tables):
    breadth, depth = tables
    elsewhere = RecordedTable(facts("depth", fingerprint="other", data="elsewhere"), depth.runs)
    assert fit_surrogate(breadth, elsewhere).luck.source == "elsewhere on s"


def test_like_schedules_make_the_same_mistakes_more_often_than_unlike_ones(surrogate):
    near = gradual(GROUPS, EPOCHS, head_lr=1.00e-3, unfreeze_depth=2)
    twin = gradual(GROUPS, EPOCHS, head_lr=1.02e-3, unfreeze_depth=2)
    far = gradual(GROUPS, EPOCHS, head_lr=9e-3, backbone_ratio=1.0, warmup_epochs=2.0)
    alike, unlike = [], []
    for number in range(1, 13):
        drawn = surrogate.drawn(number)
        base, other, third = (
            drawn.play(job(schedule), cut(number))[-1].predicted_classes for schedule in (near, twin, far)
        )
        alike.append(np.mean(base == other))
        unlike.append(np.mean(base == third))
    assert np.mean(alike) > np.mean(unlike)


def test_shared_luck_is_not_taken_for_worth():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    y = 0.3 * np.sin(x[:, 0]) + 0.01 * rng.normal(size=80)
    none = Process.fit(x, y[:, None], np.zeros(1), np.full((80, 1), np.nan))[0]
    half = Process.fit(x, y[:, None], np.array([0.5 * none.worth]), np.full((80, 1), np.nan))[0]
    assert none.luck == 0.0
    assert half.worth == pytest.approx(none.worth / 2, rel=0.1)
    at = half.distances(x[0])
    assert abs(half.at(at) - half.mean) < abs(none.at(at) - none.mean)


def test_draws_of_the_landscape_differ_most_where_the_table_knows_least(surrogate):
    known, unknown = surrogate.place(KNOWN), surrogate.place(NEW)
    draws = [surrogate.drawn(number) for number in range(1, 30)]
    at_known = np.array([one.truths(known) for one in draws])
    at_unknown = np.array([one.truths(unknown) for one in draws])
    assert 0 < at_known.std(0).max() < 0.02
    assert at_known.std(0).max() < np.median(at_unknown.std(0))
    assert at_known.mean(0) == pytest.approx(surrogate.truths(known), abs=0.01)
    assert at_unknown.mean(0) == pytest.approx(surrogate.truths(unknown), abs=0.06)


def test_with_more_images_a_mean_is_nearer_to_the_same_truth(surrogate):
    large = surrogate.enlarged(4)
    ids = np.random.default_rng(0).permutation(4 * N)
    wide, narrow = Split(ids[4 * N_VAL :], ids[: 4 * N_VAL]), cut(0)
    assert large.truth(NEW[0], REGIME) == surrogate.truth(NEW[0], REGIME)
    misses = [
        [one.drawn(k).score(job(NEW[0]), given) - one.drawn(k).truth(NEW[0], REGIME) for k in range(1, 25)]
        for one, given in ((large, wide), (surrogate, narrow))
    ]
    assert np.std(misses[0]) < 0.8 * np.std(misses[1])
