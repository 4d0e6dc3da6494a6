"""How far a surrogate is off, measured on what it was not fitted to: figures that belong beside its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from autofreeze.intervals import mean_interval
from autofreeze.job import EpochRecord
from autofreeze.recorded.fitting import fit_surrogate, outputs_of
from autofreeze.recorded.landscape import distances_between, matern
from autofreeze.recorded.luck import Crossed, Floats, hits
from autofreeze.recorded.surrogate import Surrogate
from autofreeze.recorded.tables import RecordedTable
from autofreeze.stability import why_unstable
from autofreeze.values import Value

FOLDS, DRAWS = 10, 5
"""Parts of the breadth table that are held out in turn, and simulated cells, to measure the error by."""


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
            f"- of the recorded runs {self.broken[0]:.1%} are unstable by their records, simulated "
            f"{self.broken[1]:.1%}",
            f"- {self.worth_share:.0%} of the spread between schedules is taken for worth, the rest for luck",
        ]


def measure_error(surrogate: Surrogate, breadth: RecordedTable, depth: RecordedTable) -> SurrogateError:
    """Measure how far a surrogate is off; these figures belong beside every simulated one.

    Args:
        surrogate: What ``fit_surrogate`` made of the two tables.
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
    broken = [_breaks(run.records) for run in breadth.runs]
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
            worth, loss = part.outputs(run.job.schedule)[-1] + part.offsets[-1]
            seen = outputs_of(run, len(run.records) - 1)
            rows.append((part.mean_value(worth), run.end.value, loss, seen[1]))
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
        unstable.append(_breaks(records))
        if records[-1].predicted:
            rows[row, cut.val] = records[-1].predicted_classes == breadth.labels[cut.val]
    return rows, float(np.mean(unstable))


def _breaks(records: Sequence[EpochRecord]) -> bool:
    """Whether a run is called unstable by its records alone; who watches its steps sees more."""
    return any(why_unstable(record, records[:epoch]) for epoch, record in enumerate(records))


def _spreads(values: Floats) -> Floats:
    """Spread over seeds, and that of what is left beside the seeds' means; medians of schedules."""
    paired = values - values.mean(0)
    return np.array([np.median(np.std(rows, axis=1, ddof=1)) for rows in (values, paired)])


def _agreement(surrogate: Surrogate, breadth: RecordedTable, rows: Floats) -> Floats:
    """Share of images that pairs of schedules judge alike: of all pairs, and of the tenth most alike."""
    usual = np.array(["meant" not in run.origin and run.job.fold == 0 for run in breadth.runs])
    rows = rows[usual][:, ~np.isnan(rows[usual]).any(0)]
    process = surrogate.processes[-1][0]
    alike = matern(distances_between(process.x[usual], process.x[usual]) / process.length)
    first, second = np.triu_indices(len(rows), 1)
    same = (rows[first] == rows[second]).mean(1)
    likeness = alike[first, second]
    return np.array([same.mean(), same[likeness >= np.quantile(likeness, 0.9)].mean()])


@dataclass(frozen=True)
class _Cut:
    train: NDArray[np.int64]
    val: NDArray[np.int64]
