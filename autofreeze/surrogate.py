"""A surrogate: what the runs of a recorded table say of schedules that were never trained.

Fitted to a breadth table, and to a depth table for the luck of seeds, it plays any job of the flat space as
whole records, image by image, and knows the exact mean that a schedule has over images and seeds. So a
replayed search can be judged by the truth. Its records are a pure function of the surrogate, the job and the
images that are scored.

Expected curves come from Gaussian processes over features of the schedule's own table. Part of what looks
like a schedule's worth in a breadth table is luck that like schedules share, since all have one seed and the
same images; how much follows from the depth table, and that part is not taken for worth.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtr, ndtri
from scipy.stats import spearmanr

from autofreeze.cost import step_work
from autofreeze.errors import ConfigError
from autofreeze.intervals import mean_interval
from autofreeze.job import EpochRecord, Job, settings_digest
from autofreeze.luck import Crossed, Floats, Luck, fit_luck, hits, worth_of
from autofreeze.metrics import pack_classes, score
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule, Timetable
from autofreeze.seeds import derive
from autofreeze.stability import LOSS_SPIKE, SPIKE_FLOOR, why_unstable
from autofreeze.tables import CellFacts, RecordedRun, RecordedTable
from autofreeze.values import Value

FROZEN = 1e-6
"""Mean rate below which a column as good as stands still."""

FREQUENCIES = 64
"""Random frequencies by which luck is alike for like schedules (Rahimi and Recht 2007)."""

LENGTHS = np.geomspace(0.7, 20.0, 12)
NOISES = np.geomspace(3e-3, 10.0, 20)
"""Lengths of the kernel, in spreads of the features, and noise by signal: the likelihood chooses."""

FOLDS, DRAWS = 10, 5
"""Parts of the breadth table that are held out in turn, and simulated cells, to measure the error by."""

LEAST_WORTH = 0.2
"""Share of the spread between schedules that is taken for worth, at least."""

OUTPUTS = ("worth", "log_loss", "train_loss", "start_loss", "train_top1")
"""What is expected at the end of each epoch: normal quantiles of shares, logs of losses."""


SCORED = 2
"""How many of them hang on which images are scored: the first."""


class Cut(Protocol):
    """Which images a job trains on and is scored on; ``splits.Split`` is one."""

    @property
    def train(self) -> NDArray[np.int64]:
        """Image ids."""

    @property
    def val(self) -> NDArray[np.int64]:
        """Image ids, ascending."""


@dataclass(frozen=True)
class Expected:
    """What a schedule gives on average, by epoch, (epochs,) each."""

    values: Floats
    """The metric."""

    losses: Floats
    """Mean log loss in nats."""


class SurrogateError(Value):
    """How far a surrogate is off, measured on runs that it was not fitted to."""

    schedules: int
    value_rmse: float
    """Of the last epoch's metric, 10-fold over schedules, the recorded runs' own noise included."""

    value_noise: float
    """Spread of that noise, from the depth table: no surrogate can be nearer than that on one run."""

    value_rank: float
    """Spearman's correlation."""

    loss_rmse: float
    """Of the log of the log loss."""

    loss_rank: float
    seed_spread: tuple[float, float]
    """Standard deviation of the metric over the seeds of a schedule: in the depth table, and simulated."""

    paired_spread: tuple[float, float]
    """The same of the difference of two schedules with the same seed."""

    agreement: tuple[float, float]
    """Share of images on which two schedules of the breadth table are both right or both wrong."""

    agreement_alike: tuple[float, float]
    """The same for the tenth of the pairs that are most alike."""

    broken: tuple[float, float]
    """Share of the breadth table's runs that are called unstable: recorded, and simulated."""

    worth_share: float
    """Share of the spread between schedules in the breadth table that is taken for worth, not luck."""

    truth_error: float
    """Standard error of a recorded schedule's mean over images and the depth table's seeds."""

    noise_from: str

    def lines(self) -> list[str]:
        """Say it in a Markdown list."""
        points = [100 * value for value in (self.value_rmse, self.value_noise, *self.seed_spread)]
        paired = [100 * value for value in self.paired_spread]
        return [
            f"- out-of-fold error of the last epoch's metric over {self.schedules} schedules: "
            f"{points[0]:.1f} points, and one run's own noise is {points[1]:.1f}; rank correlation "
            f"{self.value_rank:.2f}",
            f"- of the log of the log loss: {self.loss_rmse:.2f}; rank correlation {self.loss_rank:.2f}",
            f"- spread over seeds {points[2]:.1f} points recorded, {points[3]:.1f} simulated; of paired "
            f"differences {paired[0]:.1f} and {paired[1]:.1f} (noise from {self.noise_from})",
            f"- two schedules agree on {self.agreement[0]:.1%} of images, simulated {self.agreement[1]:.1%}; "
            f"the tenth most alike on {self.agreement_alike[0]:.1%} and {self.agreement_alike[1]:.1%}",
            f"- of the recorded runs {self.broken[0]:.1%} are unstable, simulated {self.broken[1]:.1%}",
            f"- {self.worth_share:.0%} of the spread between schedules is taken for worth, the rest for luck",
        ]


# Features


def features(timetable: Timetable) -> Floats:
    """Describe what a schedule has done by the end of each epoch: rates by column, what trained how long.

    Returns:
        (epochs, features).
    """
    ends, first = np.array(timetable.epoch_ends), 0
    lrs = np.zeros((timetable.total_steps, len(timetable.schedule.groups)))
    trained = np.zeros_like(lrs)
    for phase, end in zip(timetable.schedule.phases, timetable.ends, strict=True):
        factors = np.array([timetable.factor(step) for step in range(first, end)])
        cells = np.array([cell or 0.0 for cell in phase.lrs])
        lrs[first:end], trained[first:end] = factors[:, None] * cells, cells > 0
        first = max(first, end)
    sums, kept = (np.cumsum(part, axis=0)[ends - 1] / timetable.total_steps for part in (lrs, trained))
    rates, backbone, kept = np.log10(sums + FROZEN), np.log10(sums[:, :-1] + FROZEN), kept[:, :-1]
    middle = backbone.shape[1] // 2
    return np.stack(
        [
            rates[:, -1], backbone.max(1), backbone.mean(1), backbone[:, 0], backbone[:, middle],
            backbone[:, -1], kept.sum(1), (kept > 0).sum(1), kept.max(1),
        ],
        axis=1,
    )  # fmt: skip


# Gaussian process


def matern(distances: Floats) -> Floats:
    """Matérn's kernel of order 3/2 of distances in units of its length."""
    scaled = math.sqrt(3) * distances
    result: Floats = (1 + scaled) * np.exp(-scaled)
    return result


def _distances(a: Floats, b: Floats) -> Floats:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    result: Floats = np.sqrt(np.maximum(squares, 0.0))
    return result


@dataclass(frozen=True)
class Process:
    """A Gaussian process for one output, fitted.

    Rows are runs; those that a depth table knows better have less noise and no shared luck.
    """

    x: Floats
    length: float
    worth: float
    """Variance that is the schedule's."""

    luck: float
    """Variance that like schedules share by luck, in rows of a single run."""

    noise: float
    row_noise: Floats
    """Variance of each row beside what schedules share, (rows,)."""

    single: NDArray[np.bool_]
    """Which rows are single runs, (rows,)."""

    weights: Floats
    """Of the rows, such that a prediction is the mean plus worth times likeness @ weights."""

    factor: Floats
    mean: float

    @classmethod
    def fit(cls, x: Floats, y: Floats, luck: Floats, known: Floats) -> "tuple[Process, ...]":
        """Fit one process for each output, each by the likelihood of the runs, all with the same noise.

        Args:
            x: Features in units of their spread, (rows, features).
            y: Outputs, (rows, outputs).
            luck: Variance of a run's outputs by luck, (outputs,).
            known: Noise variance of rows that are means over many seeds, NaN for single runs, as ``y``.
        """
        distances = _distances(x, x)
        best = [(math.inf, 0.0, 0.0, 0.0)] * y.shape[1]
        centred = y - y.mean(0)
        for length in LENGTHS:
            values, vectors = np.linalg.eigh(matern(distances / length))
            squares = (vectors.T @ centred) ** 2
            for ratio in NOISES:
                spread = np.maximum(values, 0.0) + ratio
                signal = (squares / spread[:, None]).mean(0) + 1e-12
                minus = 0.5 * (len(y) * np.log(signal) + np.log(spread).sum())
                for column, found in enumerate(minus):
                    best[column] = min(best[column], (found, length, signal[column], ratio * signal[column]))
        return tuple(
            cls._of(x, distances, y[:, column], luck[column], known[:, column], *best[column][1:])
            for column in range(y.shape[1])
        )

    @classmethod
    def _of(
        cls, x: Floats, distances: Floats, y: Floats, luck: float, known: Floats,
        length: float, signal: float, noise: float,
    ) -> "Process":  # fmt: skip
        shared = float(np.clip(luck - noise, 0.0, (1 - LEAST_WORTH) * signal))
        single = np.isnan(known)
        matrix = matern(distances / length) * ((signal - shared) + shared * np.outer(single, single))
        row_noise = np.where(single, noise, np.nan_to_num(known) + 1e-6)
        factor = cho_factor(matrix + np.diag(row_noise), lower=True)
        mean = float(y.mean())
        weights = cho_solve(factor, y - mean)
        return cls(
            x=x, length=float(length), worth=float(signal - shared), luck=shared, noise=float(noise),
            row_noise=row_noise, single=single, weights=weights, factor=factor[0], mean=mean,
        )  # fmt: skip

    def distances(self, x: Floats) -> Floats:
        """How far one schedule lies from the rows, (rows,); the same for all outputs of an epoch."""
        result: Floats = np.sqrt(np.square(self.x - x).sum(1))
        return result

    def at(self, distances: Floats) -> float:
        """Give the expected output."""
        return self.mean + self.worth * float(matern(distances / self.length) @ self.weights)


@dataclass(frozen=True)
class Waves:
    """Random frequencies whose cosines and sines have the kernel's likeness as their mean product."""

    frequencies: Floats

    @classmethod
    def of(cls, n_features: int, length: float, seed: int) -> "Waves":
        """Draw them: Matérn 3/2 has Student's t with three degrees of freedom as its spectrum."""
        rng = np.random.default_rng(seed)
        normal = rng.standard_normal((FREQUENCIES, n_features))
        scale = np.sqrt(3 / rng.chisquare(3, FREQUENCIES))[:, None]
        return cls(normal * scale / length)

    def of_schedules(self, places: Floats) -> Floats:
        """Give the waves of schedules, each of unit length, (n, 2·FREQUENCIES)."""
        phases = places @ self.frequencies.T
        return np.concatenate([np.cos(phases), np.sin(phases)], axis=1) / math.sqrt(FREQUENCIES)


# The surrogate


@dataclass(frozen=True)
class Surrogate:
    """Plays schedules of one cell. ``drawn`` gives others of the same kind, with images of their own.

    Build it with :func:`fit_surrogate`.
    """

    facts: CellFacts
    regime: Regime
    steps_per_epoch: int
    centre: Floats
    scale: Floats
    processes: tuple[tuple[Process, ...], ...]
    """By epoch and output, as ``OUTPUTS`` has them."""

    offsets: Floats
    """What is taken from each expected output, (epochs, outputs): the luck of the breadth table's images."""

    class_worth: Floats
    """What a class is easier than the mean, (classes,)."""

    class_shares: Floats
    luck: Luck
    confused: Floats
    """Share of the wrong images of a class (rows) that were taken for each other one."""

    norms: tuple[float, ...]
    """Typical norm of each column's gradient."""

    seconds_per_work: float
    diverged: float
    """Share of the table's runs that broke off with a non-finite loss."""

    own: dict[str, int]
    """Schedule and regime -> row of the processes, for those that were recorded."""

    number: int = 0
    """Which draw of images and of the landscape between the recorded schedules; 0 has the expected one."""

    _cache: dict[tuple[object, ...], Floats] = field(default_factory=dict, repr=False, compare=False)
    _known: dict[str, tuple[Floats, Floats]] = field(default_factory=dict, repr=False, compare=False)

    def drawn(self, number: int) -> "Surrogate":
        """Give a cell of the same kind: other images, and a landscape drawn from what is not known of it.

        Args:
            number: Which; 0 has the expected landscape.
        """
        return replace(self, number=number, _cache={}, _known={})

    def enlarged(self, times: int) -> "Surrogate":
        """Give the cell with as many times the images; schedules are worth what they were.

        More images to train on would change that too. So it tells what more images to score would do.
        """
        n = len(self.facts.labels)
        facts = self.facts.model_copy(
            update={
                "labels": self.facts.labels * times,
                "train": tuple(image + turn * n for turn in range(times) for image in self.facts.train),
            }
        )
        return replace(self, facts=facts, _cache={}, _known={})

    # What is true

    def truth(self, schedule: Schedule, regime: Regime) -> float:
        """Give the exact mean of the metric over new images and seeds.

        Raises:
            ConfigError: The table knows nothing of the regime or of the metric.
        """
        self._refuse(regime)
        return float(self.truths(self.place([schedule]))[0])

    def place(self, schedules: Sequence[Schedule]) -> Floats:
        """Give the features of whole schedules, in the units in which likeness is measured, (n, features).

        All draws of a surrogate share them.
        """
        rows = [features(schedule.timetable(self.steps_per_epoch))[-1] for schedule in schedules]
        result: Floats = (np.array(rows) - self.centre[-1]) / self.scale[-1]
        return result

    def truths(self, places: Floats) -> Floats:
        """Give the exact means of many schedules, (n,); see :meth:`truth`.

        Args:
            places: What :meth:`place` gave, (n, features).
        """
        process = self.processes[-1][0]
        likeness = matern(_distances(places, process.x) / process.length)
        worth = process.mean - self.offsets[-1, 0] + process.worth * (likeness @ process.weights)
        return self._mean_values(worth + self._moved(places, likeness))

    def expected(self, schedule: Schedule, regime: Regime) -> Expected:
        """Give the mean curve over new images and seeds."""
        self._refuse(regime)
        outputs = self._outputs(schedule)
        return Expected(np.array([self._mean_value(worth) for worth in outputs[:, 0]]), np.exp(outputs[:, 1]))

    def break_chance(self, schedule: Schedule, regime: Regime) -> float:
        """Chance that the run is called unstable: by a loss spike, or since it breaks off."""
        self._refuse(regime)
        outputs = self._outputs(schedule)
        starts = np.exp(outputs[:, 3])
        most = np.log(np.maximum(LOSS_SPIKE * starts, starts + SPIKE_FLOOR))
        spreads = np.maximum(self._ratio_spreads(outputs), 1e-9)
        return float(1 - (1 - self.diverged) * np.prod(ndtr((most - outputs[:, 2]) / spreads)))

    def _ratio_spreads(self, outputs: Floats) -> Floats:
        """Give the spread by seed of the logs of training losses less those at their phases' starts."""
        at = np.minimum(np.arange(len(outputs)), len(self.luck.ratio) - 1)
        ratios = np.exp(outputs[:, 2] - outputs[:, 3])
        result: Floats = np.array(self.luck.ratio_spread)[at] * np.minimum(
            1, np.array(self.luck.ratio)[at] / ratios
        )
        return result

    def _mean_value(self, worth: float) -> float:
        return float(self._mean_values(np.array([worth]))[0])

    def _mean_values(self, worth: Floats) -> Floats:
        by_class = ndtr(worth[:, None] + self.class_worth)
        result: Floats = by_class @ self.class_shares if self.facts.metric == "top1" else by_class.mean(1)
        return result

    def _refuse(self, regime: Regime) -> None:
        if regime != self.regime:
            raise ConfigError("the table was recorded with another regime; search schedules alone")
        if self.facts.metric not in ("top1", "balanced_accuracy"):
            raise ConfigError(f"metric: {self.facts.metric} cannot be played; top1 and balanced_accuracy can")

    # Expected outputs

    def _outputs(self, schedule: Schedule) -> Floats:
        """Give the expected outputs by epoch, (epochs, outputs)."""
        return self._look_up(schedule, settings_digest(schedule, self.regime))[0]

    def _look_up(self, schedule: Schedule, digest: str) -> tuple[Floats, Floats]:
        """Give the expected outputs of a schedule, (epochs, outputs), and the waves of its luck."""
        if digest not in self._known:
            described = features(schedule.timetable(self.steps_per_epoch))[-len(self.processes) :]
            xs = (described - self.centre) / self.scale
            rows = []
            for x, processes in zip(xs, self.processes, strict=True):
                distances = processes[0].distances(x)
                rows.append([process.at(distances) for process in processes])
            outputs = np.array(rows) - self.offsets
            if self.number:
                share = np.linspace(1 / len(rows), 1.0, len(rows))
                process = self.processes[-1][0]
                moved = self._moved(xs[-1:], matern(distances / process.length)[None])[0]
                outputs[:, 0] += share * moved
                outputs[:, 1] -= share * moved * self.luck.loss_slope
            waves = self._waves.of_schedules(xs[-1:])[0]
            self._known[digest] = (outputs, waves)
        return self._known[digest]

    def _moved(self, places: Floats, likeness: Floats) -> Floats:
        """Give how far this draw of the landscape lies above the expected one at some schedules, (n,).

        Source:
            Wilson et al. 2020, "Efficiently sampling functions from Gaussian process posteriors": a draw of
            the process before the data, corrected by what the data would have said of that draw.
        """
        if not self.number:
            return np.zeros(len(places))
        process, key = self.processes[-1][0], ("landscape",)
        if key not in self._cache:
            rng = np.random.default_rng(derive(self.number, "landscape"))
            draw, luck = rng.standard_normal((2, 2 * FREQUENCIES))
            draw, luck = draw * math.sqrt(process.worth), luck * math.sqrt(process.luck)
            waves = self._waves.of_schedules(process.x)
            noise = rng.standard_normal(len(waves)) * np.sqrt(process.row_noise)
            seen = waves @ draw + process.single * (waves @ luck) + noise
            self._cache[key] = draw
            self._cache["corrected",] = cho_solve((process.factor, True), seen)
        here = self._waves.of_schedules(places) @ self._cache[key]
        result: Floats = here - process.worth * (likeness @ self._cache["corrected",])
        return result

    @cached_property
    def _waves(self) -> Waves:
        process = self.processes[-1][0]
        return Waves.of(process.x.shape[1], process.length, derive(self.number, "waves"))

    # Playing

    def player(self, split_of: Callable[[Job], Cut]) -> Callable[[Job], tuple[EpochRecord, ...]]:
        """Give what an executor plays: job -> its records.

        Args:
            split_of: Which images a job trains on and is scored on.
        """
        return lambda job: self.play(job, split_of(job))

    def play(self, job: Job, cut: Cut) -> tuple[EpochRecord, ...]:
        """Play one job.

        Raises:
            ConfigError: The job's regime is another one than the table's, or its length.
        """
        self._refuse(job.regime)
        if abs(job.schedule.epochs - self.facts.epochs) > 1e-6:
            raise ConfigError(f"the table was recorded with {self.facts.epochs:g} epochs")
        n_train, val = len(cut.train), np.asarray(cut.val)
        labels = self._labels[val]
        timetable = job.schedule.timetable(math.ceil(n_train / job.regime.batch_size))
        digest = job.settings_digest
        outputs, waves = self._look_up(job.schedule, digest)
        deviates = self._deviates(digest, job.seed, float(outputs[-1, 0]), waves, val)
        taken_for, ratio_spreads = self._taken_for(labels, val), self._ratio_spreads(outputs)
        rng = np.random.default_rng(self._seed("run", digest, job.seed, job.fold))
        breaks_at = int(rng.integers(len(outputs))) if rng.random() < self.diverged else None
        spread = rng.standard_normal(4)
        marks = self._work_marks(timetable, n_train, len(val))
        records = []
        for epoch, end in enumerate(timetable.epoch_ends):
            expected = outputs[min(epoch, len(outputs) - 1)]
            margin = expected[0] + self.class_worth[labels] + deviates[min(epoch, len(outputs) - 1)]
            predicted = np.where(margin > 0, labels, taken_for)
            shown = float(worth_of(float(np.count_nonzero(margin > 0)), len(val)))
            usual = float(ndtri(np.clip(self._mean_value(expected[0]), 1e-6, 1 - 1e-6)))
            loss = math.exp(
                expected[1]
                - self.luck.loss_slope * (shown - usual)
                + self.luck.loss_spread * (0.9 * spread[0] + math.sqrt(1 - 0.81) * rng.standard_normal())
            )
            ratio_spread = ratio_spreads[min(epoch, len(outputs) - 1)]
            start = math.exp(expected[3] + self.luck.train_spread * spread[1])
            train = start * math.exp(
                expected[2] - expected[3] + ratio_spread * (0.7 * spread[2] + 0.7 * spread[3])
            )
            spread[3] = rng.standard_normal()
            rates = timetable.rates(end - 1)
            norms = tuple(
                None if rate is None else norm for rate, norm in zip(rates, self.norms, strict=True)
            )
            broken = breaks_at == epoch
            nan = math.nan
            records.append(
                EpochRecord(
                    epoch=epoch,
                    epochs_done=end / timetable.steps_per_epoch,
                    step=end,
                    train_loss=nan if broken else train,
                    train_top1=None if broken else float(ndtr(expected[4])),
                    phase_start_loss=start,
                    val_loss=nan if broken else loss,
                    value=nan if broken else score(self.facts.metric, labels, predicted, loss),
                    predicted="" if broken else pack_classes(predicted),
                    n_val=len(val),
                    rates=rates,
                    grad_norms=norms,
                    grad_norms_max=tuple(None if norm is None else 2 * norm for norm in norms),
                    work=marks[epoch],
                    seconds=marks[epoch] * self.seconds_per_work,
                    epochs_since_unfreeze=(end - timetable.last_unfreeze) / timetable.steps_per_epoch,
                    diverged=f"non-finite loss at step {end - 1}" if broken else "",
                    last=broken or end == timetable.total_steps,
                )
            )
            if broken:
                break
        return tuple(records)

    def score(self, job: Job, cut: Cut) -> float:
        """Give the value that the last record of :meth:`play` holds, without the others; cheap."""
        self._refuse(job.regime)
        val, digest = np.asarray(cut.val), job.settings_digest
        outputs, waves = self._look_up(job.schedule, digest)
        final = self._deviates(digest, job.seed, float(outputs[-1, 0]), waves, val, last=True)[0]
        labels = self._labels[val]
        right = outputs[-1, 0] + self.class_worth[labels] + final > 0
        predicted = np.where(right, labels, self._taken_for(labels, val))
        return score(self.facts.metric, labels, predicted, 0.0)

    def _work_marks(self, timetable: Timetable, n_train: int, n_val: int) -> list[float]:
        """Forward-equivalents by the end of each epoch: ``cost.run_work`` of the run cut there."""
        images = n_train / timetable.steps_per_epoch
        steps, first = np.zeros(timetable.total_steps), 0
        for phase, end in zip(timetable.schedule.phases, timetable.ends, strict=True):
            trains = [lr is not None for lr in phase.lrs]
            steps[first:end] = images * step_work(self.facts.work_shares, trains, 1)
            first = max(first, end)
        done = np.cumsum(steps)[np.array(timetable.epoch_ends) - 1]
        return [float(work + n_val * (epoch + 1)) for epoch, work in enumerate(done)]

    def _deviates(
        self,
        digest: str,
        seed: int,
        worth: float,
        waves: Floats,
        val: NDArray[np.int64],
        *,
        last: bool = False,
    ) -> Floats:
        """Draw the deviates of the images' margins at the end of the epochs, (epochs, n_val).

        Those of the last epoch are the parts of ``Luck`` added up. Earlier ones keep a part of it; the rest
        passes, and an epoch's is alike for all schedules with one seed as far as an image is.

        Args:
            digest: Of schedule and regime.
            seed: Of the run.
            worth: Of the schedule.
            waves: Of the schedule.
            val: Image ids.
            last: Whether to draw those of the last epoch alone, (1, n_val): the same numbers.
        """
        luck, classes = self.luck, len(self.class_worth)
        labels, root = self._labels[val], math.sqrt
        n, epochs, m = len(self._labels), len(self.processes), len(val)
        rng = np.random.default_rng(self._seed("own", seed, digest))
        own, own_classes = rng.standard_normal(m), rng.standard_normal(classes + 1)
        seed_classes = self._normal(("seed class", seed), (classes + 1,))
        run_class = luck.run_class(worth)
        parts = (luck.image, luck.pairing, luck.seed, luck.seed_class, luck.seed_image, luck.run, run_class)
        smooth = float(np.clip(luck.smooth, 0.0, max(1 - sum(parts), 0.0)))
        rest = max(1 - sum(parts) - smooth, 0.0)
        final = (
            root(luck.image) * self._normal(("image",), (n,))[val]
            + root(luck.seed_image) * self._normal(("seed image", seed), (n,))[val]
            + root(luck.pairing) * (self._normal(("pairing",), (n, 2 * FREQUENCIES))[val] @ waves)
            + root(smooth) * (self._normal(("smooth", seed), (n, 2 * FREQUENCIES))[val] @ waves)
            + root(luck.seed) * seed_classes[-1]
            + root(luck.seed_class) * _opposed(seed_classes[:-1])[labels]
            + root(luck.run) * own_classes[-1]
            + root(run_class) * _opposed(own_classes[:-1])[labels]
            + root(rest) * own
        ) / root(sum(parts) + smooth + rest)
        if last:
            return np.asarray(final[None])
        kept = np.array(luck.epochs)[:, None]
        alike = luck.image + luck.seed_image
        shared = self._normal(("passing", seed), (epochs, n))[:, val]
        passing = root(alike) * shared + root(1 - alike) * rng.standard_normal((epochs, m))
        return np.asarray(kept * final + np.sqrt(1 - kept**2) * passing)

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        return np.asarray(self.facts.labels, dtype=np.int64)

    def _taken_for(self, labels: NDArray[np.int64], val: NDArray[np.int64]) -> NDArray[np.int64]:
        """Class that each image is taken for when it is wrong; the image's own, whatever is trained."""
        key = ("taken for",)
        if key not in self._cache:
            draws = np.random.default_rng(self._seed("taken for")).random(len(self.facts.labels))
            self._cache[key] = draws
        edges = np.cumsum(self.confused, axis=1)[labels]
        taken: NDArray[np.int64] = np.argmax(self._cache[key][val, None] < edges, axis=1).astype(np.int64)
        return taken

    def _normal(self, purpose: tuple[object, ...], shape: tuple[int, ...]) -> Floats:
        if purpose not in self._cache:
            rng = np.random.default_rng(self._seed(*purpose))
            self._cache[purpose] = rng.standard_normal(shape)
        return self._cache[purpose]

    def _seed(self, *purpose: object) -> int:
        return derive(self.number, "surrogate", *(str(part) for part in purpose))

    @cached_property
    def worth_share(self) -> float:
        """Share of the smooth spread between schedules that is taken for worth, the rest being luck."""
        process = self.processes[-1][0]
        return process.worth / (process.worth + process.luck)


def _opposed(drawn: Floats) -> Floats:
    """Make normal deviates of the classes add up to zero, each with variance one."""
    result: Floats = (drawn - drawn.mean()) * math.sqrt(len(drawn) / (len(drawn) - 1))
    return result


# Measuring


def measure_error(surrogate: Surrogate, breadth: RecordedTable, depth: RecordedTable) -> SurrogateError:
    """Measure how far a surrogate is off; these figures belong beside every simulated one.

    Args:
        surrogate: What :func:`fit_surrogate` made of the two tables.
        breadth: The table of many schedules; those that were meant to break a run are left out of the errors.
        depth: The table of many seeds.
    """
    told, seen, told_loss, seen_loss = _out_of_fold(surrogate, breadth, depth)
    crossed = Crossed.of(depth)
    values = np.nanmean(crossed.right, axis=2)
    draws = [_simulated(surrogate.drawn(number), depth) for number in range(1, DRAWS + 1)]
    agreements = [_agreement(surrogate, breadth, hits(breadth))]
    played = [_played(surrogate.drawn(number), breadth) for number in range(1, DRAWS + 1)]
    agreements.append(np.mean([_agreement(surrogate, breadth, rows) for rows, _ in played], axis=0))
    broken = [any(why_unstable(record) for record in run.records) for run in breadth.runs]
    errors = [mean_interval(rows, overlap=_overlap(depth)).standard_error for rows in crossed.right]
    spreads = [_spreads(values), np.mean([_spreads(draw) for draw in draws], axis=0)]
    return SurrogateError(
        schedules=len(told),
        value_rmse=float(np.sqrt(np.mean((told - seen) ** 2))),
        value_noise=float(spreads[0][1]),
        value_rank=float(spearmanr(told, seen).statistic),
        loss_rmse=float(np.sqrt(np.mean((told_loss - seen_loss) ** 2))),
        loss_rank=float(spearmanr(told_loss, seen_loss).statistic),
        seed_spread=(float(spreads[0][0]), float(spreads[1][0])),
        paired_spread=(float(spreads[0][1]), float(spreads[1][1])),
        agreement=(float(agreements[0][0]), float(agreements[1][0])),
        agreement_alike=(float(agreements[0][1]), float(agreements[1][1])),
        broken=(float(np.mean(broken)), float(np.mean([unstable for _, unstable in played]))),
        worth_share=surrogate.worth_share,
        truth_error=float(np.median(errors)),
        noise_from=surrogate.luck.source,
    )


def _out_of_fold(
    surrogate: Surrogate, breadth: RecordedTable, depth: RecordedTable
) -> tuple[Floats, Floats, Floats, Floats]:
    """Told and seen values, told and seen logs of log losses, of schedules that were not fitted to."""
    usual = [row for row, run in enumerate(breadth.runs) if "meant" not in run.origin]
    unusual = [row for row in range(len(breadth.runs)) if row not in usual]
    order = np.random.default_rng(0).permutation(usual)
    rows = []
    for fold in range(FOLDS):
        held = order[fold::FOLDS]
        kept = [*(row for row in order if row not in held), *unusual]
        part = fit_surrogate(breadth, depth, runs=sorted(kept), luck=surrogate.luck)
        for row in held:
            run = breadth.runs[row]
            worth, loss = part._outputs(run.job.schedule)[-1] + part.offsets[-1]
            seen = _outputs_of(run, len(run.records) - 1)
            rows.append((part._mean_value(worth), run.end.value, loss, seen[1]))
    told, seen_values, told_losses, seen_losses = np.array(rows).T
    return told, seen_values, told_losses, seen_losses


def _overlap(depth: RecordedTable) -> float:
    return len(depth.runs[0].val) / depth.runs[0].n_train


def _simulated(surrogate: Surrogate, depth: RecordedTable) -> Floats:
    """Values of the depth table's schedules on as many fresh seeds, simulated, (schedules, seeds)."""
    jobs = {run.job.settings_digest: run.job for run in depth.runs}
    ids, n_val = np.asarray(surrogate.facts.train), len(depth.runs[0].val)
    values = []
    for fresh in range(len({run.job.seed for run in depth.runs})):
        order = np.random.default_rng([surrogate.number, fresh]).permutation(ids)
        cut = _Cut(np.sort(order[n_val:]), np.sort(order[:n_val]))
        jobs_of_seed = [job.model_copy(update={"seed": fresh, "fresh": fresh}) for job in jobs.values()]
        values.append([surrogate.play(job, cut)[-1].value for job in jobs_of_seed])
    return np.array(values).T


def _played(surrogate: Surrogate, breadth: RecordedTable) -> tuple[Floats, float]:
    """Simulate the breadth table: which images are right, (runs, images), and the share of unstable runs."""
    unstable = []
    rows = np.full((len(breadth.runs), len(breadth.labels)), np.nan)
    for row, run in enumerate(breadth.runs):
        cut = _Cut(np.arange(run.n_train), np.asarray(run.val))
        records = surrogate.play(run.job, cut)
        unstable.append(any(why_unstable(record) for record in records))
        if records[-1].predicted:
            rows[row, cut.val] = records[-1].predicted_classes == breadth.labels[cut.val]
    return rows, float(np.mean(unstable))


def _spreads(values: Floats) -> Floats:
    """Spread over seeds, and that of what is left beside the seeds' means; medians of schedules."""
    paired = values - values.mean(0)
    return np.array([np.median(np.std(rows, axis=1, ddof=1)) for rows in (values, paired)])


def _agreement(surrogate: Surrogate, breadth: RecordedTable, rows: Floats) -> Floats:
    """Share of images that pairs of schedules judge alike: of all pairs, and of the tenth most alike."""
    usual = np.array(["meant" not in run.origin and run.job.fold == 0 for run in breadth.runs])
    rows = rows[usual][:, ~np.isnan(rows[usual]).any(0)]
    process = surrogate.processes[-1][0]
    alike = matern(_distances(process.x[usual], process.x[usual]) / process.length)
    first, second = np.triu_indices(len(rows), 1)
    same = (rows[first] == rows[second]).mean(1)
    likeness = alike[first, second]
    return np.array([same.mean(), same[likeness >= np.quantile(likeness, 0.9)].mean()])


@dataclass(frozen=True)
class _Cut:
    train: NDArray[np.int64]
    val: NDArray[np.int64]


# Fitting


def fit_surrogate(
    breadth: RecordedTable,
    depth: RecordedTable,
    *,
    runs: Sequence[int] | None = None,
    luck: Luck | None = None,
) -> Surrogate:
    """Fit a surrogate.

    Args:
        breadth: The cell's table of many schedules.
        depth: Many seeds of some of them: of the same cell, else the luck of another one is borrowed.
        runs: Positions of the breadth table's runs to fit to; all when left out.
        luck: That of a surrogate that was fitted before: then only the last epoch's worth and log loss are
            fitted, to measure how far off they are.

    Raises:
        ConfigError: The tables are of other kinds, or the regime differs between runs.
    """
    if breadth.facts.kind != "breadth" or depth.facts.kind != "depth":
        raise ConfigError("a surrogate is fitted to a breadth table and a depth table, in that order")
    chosen = [breadth.runs[position] for position in (runs if runs is not None else range(len(breadth.runs)))]
    regime = chosen[0].job.regime
    if any(run.job.regime != regime for run in chosen):
        raise ConfigError("the runs of a table must have one regime")
    same_cell = (breadth.facts.fingerprint, breadth.facts.weights) == (
        depth.facts.fingerprint,
        depth.facts.weights,
    )
    steps = math.ceil(chosen[0].n_train / regime.batch_size)
    n_epochs = max(len(run.records) for run in chosen)
    known = _depth_means(depth, n_epochs) if same_cell else {}
    noise = _luck_variances(depth)
    noise_of_luck = np.where(np.arange(len(OUTPUTS)) < SCORED, noise, 0.0)  # a training loss tells no luck
    described = np.array([features(run.job.schedule.timetable(steps)) for run in chosen])
    epochs, outputs = (range(n_epochs), len(OUTPUTS)) if luck is None else ([n_epochs - 1], SCORED)
    centres, scales, processes, offsets = [], [], [], []
    for epoch in epochs:
        x = described[:, epoch]
        centre, scale = x.mean(0), x.std(0) + 1e-9
        y = np.array([_outputs_of(run, epoch) for run in chosen])
        y = np.minimum(y, _ceilings(chosen, y))
        at = [(row, known[d]) for row, run in enumerate(chosen) if (d := run.job.settings_digest) in known]
        offset = np.zeros(len(OUTPUTS))
        single = np.full(y.shape, np.nan)
        if at:
            offset[:SCORED] = np.mean([(y[row] - means[epoch])[:SCORED] for row, (means, _) in at], axis=0)
            for row, (means, seeds) in at:
                y[row, :SCORED] = (means[epoch] + offset)[:SCORED]
                single[row, :SCORED] = (noise / seeds)[:SCORED]
        centres.append(centre)
        scales.append(scale)
        offsets.append(offset)
        scaled = (x - centre) / scale
        processes.append(Process.fit(scaled, y[:, :outputs], noise_of_luck[:outputs], single[:, :outputs]))
    labels = breadth.labels[np.asarray(breadth.facts.train)]
    shares = np.bincount(labels, minlength=len(breadth.facts.classes)) / len(labels)
    likeness = matern(_distances(scaled, scaled) / processes[-1][0].length)
    part = breadth if runs is None else RecordedTable(breadth.facts, tuple(chosen))
    where = "this cell" if same_cell else f"{depth.facts.data} on {depth.facts.source}"
    return Surrogate(
        facts=breadth.facts,
        regime=regime,
        steps_per_epoch=steps,
        centre=np.array(centres),
        scale=np.array(scales),
        processes=tuple(processes),
        offsets=np.array(offsets)[:, : len(processes[-1])],
        class_worth=_class_worth(depth if same_cell else part, shares),
        class_shares=shares,
        luck=fit_luck(depth, part, likeness, where) if luck is None else luck,
        confused=_confused(part),
        norms=_norms(part),
        seconds_per_work=float(np.median([run.end.seconds / run.end.work for run in chosen])),
        diverged=float(np.mean([bool(run.end.diverged) for run in chosen])),
        own={run.job.settings_digest: row for row, run in enumerate(chosen)},
    )


def _outputs_of(run: RecordedRun, epoch: int) -> Floats:
    """Give the outputs of a run at the end of an epoch; of the last one before it broke off when it did."""
    sound = [record for record in run.records if record.is_finite] or [run.records[0]]
    record = sound[min(epoch, len(sound) - 1)]
    n = record.n_val
    shares = [
        share if share is not None and math.isfinite(share) else 0.0
        for share in (record.value, record.train_top1)
    ]
    losses = [
        math.log(max(loss, 1e-6)) if math.isfinite(loss) else 5.0
        for loss in (record.val_loss, record.train_loss, record.phase_start_loss)
    ]
    worth, train = (float(worth_of(share * size, size)) for share, size in zip(shares, (n, 200), strict=True))
    return np.array([worth, *losses, train])


def _ceilings(runs: Sequence[RecordedRun], y: Floats) -> Floats:
    """Cap what breaking runs show, so that a few do not decide how the others are told apart."""
    usual = np.array(["meant" not in run.origin for run in runs])
    most, middle = y[usual].max(0), np.median(y[usual], axis=0)
    room = np.where(np.arange(y.shape[1]) < SCORED, 0.5, 3.0)  # a training loss must be able to show a spike
    caps: Floats = most + room * (most - middle)
    return caps


def _depth_means(depth: RecordedTable, n_epochs: int) -> dict[str, tuple[Floats, int]]:
    """Schedule -> mean outputs by epoch over the seeds, (epochs, outputs), and the number of seeds."""
    groups: dict[str, list[Floats]] = {}
    for run in depth.runs:
        outputs = np.array([_outputs_of(run, epoch) for epoch in range(n_epochs)])
        groups.setdefault(run.job.settings_digest, []).append(outputs)
    return {digest: (np.mean(rows, axis=0), len(rows)) for digest, rows in groups.items()}


def _luck_variances(depth: RecordedTable) -> Floats:
    """Variance of a run's last outputs against those of others with its seed, the median of schedules."""
    digests = list(dict.fromkeys(run.job.settings_digest for run in depth.runs))
    rows: dict[int, dict[str, Floats]] = {}
    for run in depth.runs:
        rows.setdefault(run.job.seed, {})[run.job.settings_digest] = _outputs_of(run, len(run.records) - 1)
    whole = np.array([[row[d] for d in digests] for row in rows.values() if len(row) == len(digests)])
    if len(whole) < 2 or len(digests) < 2:
        return np.zeros(len(OUTPUTS))
    paired = whole - whole.mean(1, keepdims=True)
    variances: Floats = np.median(np.var(paired, axis=0, ddof=1), axis=0) * len(digests) / (len(digests) - 1)
    return variances


def _class_worth(table: RecordedTable, shares: Floats) -> Floats:
    """Give what each class is easier than the mean of all, in worth."""
    rows = hits(table)
    found = []
    for label in range(len(shares)):
        part = rows[:, table.labels == label]
        n = np.sum(~np.isnan(part))
        found.append(float(worth_of(np.nansum(part), n)) if n else 0.0)
    worth = np.array(found)
    result: Floats = worth - float(shares @ worth)
    return result


def _confused(table: RecordedTable) -> Floats:
    classes = len(table.facts.classes)
    counts = np.full((classes, classes), 0.5)
    for run in table.runs:
        labels, predicted = table.labels[np.asarray(run.val)], run.end.predicted_classes
        if len(predicted):
            np.add.at(counts, (labels, predicted), 1.0)
    np.fill_diagonal(counts, 0.0)
    shares: Floats = counts / counts.sum(1, keepdims=True)
    return shares


def _norms(table: RecordedTable) -> tuple[float, ...]:
    columns = zip(*(run.end.grad_norms for run in table.runs), strict=True)
    return tuple(
        float(np.median([norm for norm in column if norm is not None] or [1.0])) for column in columns
    )
