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
from scipy.linalg import cho_solve
from scipy.special import ndtr, ndtri

from autofreeze.cost import step_work
from autofreeze.errors import ConfigError
from autofreeze.job import EpochRecord, Job, settings_digest
from autofreeze.metrics import pack_classes, score
from autofreeze.recorded.landscape import FREQUENCIES, Process, Waves, distances_between, features, matern
from autofreeze.recorded.luck import Floats, Luck, worth_of
from autofreeze.recorded.tables import CellFacts
from autofreeze.regime import Regime
from autofreeze.schedule import Schedule, Timetable
from autofreeze.seeds import derive
from autofreeze.stability import BOUNDS

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


@dataclass(frozen=True)
class Surrogate:
    """Plays schedules of one cell. ``drawn`` gives others of the same kind, with images of their own.

    Build it with :func:`autofreeze.recorded.fitting.fit_surrogate`.
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
        likeness = matern(distances_between(places, process.x) / process.length)
        worth = process.mean - self.offsets[-1, 0] + process.worth * (likeness @ process.weights)
        return self._mean_values(worth + self._moved(places, likeness))

    def expected(self, schedule: Schedule, regime: Regime) -> Expected:
        """Give the mean curve over new images and seeds."""
        self._refuse(regime)
        outputs = self.outputs(schedule)
        return Expected(np.array([self.mean_value(worth) for worth in outputs[:, 0]]), np.exp(outputs[:, 1]))

    def break_chance(self, schedule: Schedule, regime: Regime) -> float:
        """Chance that the run is called unstable: by a loss spike, or since it breaks off."""
        self._refuse(regime)
        outputs = self.outputs(schedule)
        starts = np.exp(outputs[:, 3])
        if BOUNDS.loss_spike is None:
            return self.diverged
        most = np.log(BOUNDS.loss_spike * np.maximum(starts, starts[0]))[:-1]  # the last epoch is not judged
        spreads = np.maximum(self._ratio_spreads(outputs), 1e-9)[:-1]
        return float(1 - (1 - self.diverged) * np.prod(ndtr((most - outputs[:-1, 2]) / spreads)))

    def _ratio_spreads(self, outputs: Floats) -> Floats:
        """Give the spread by seed of the logs of training losses less those at their phases' starts."""
        at = np.minimum(np.arange(len(outputs)), len(self.luck.ratio) - 1)
        ratios = np.exp(outputs[:, 2] - outputs[:, 3])
        result: Floats = np.array(self.luck.ratio_spread)[at] * np.minimum(
            1, np.array(self.luck.ratio)[at] / ratios
        )
        return result

    def mean_value(self, worth: float) -> float:
        """Give the metric that a worth, a normal quantile, comes to over the classes as they are."""
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

    def outputs(self, schedule: Schedule) -> Floats:
        """Give the expected outputs by epoch, (epochs, outputs); see ``OUTPUTS``."""
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
            usual = float(ndtri(np.clip(self.mean_value(expected[0]), 1e-6, 1 - 1e-6)))
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
