"""Fitting a surrogate to recorded tables."""

import math
from collections.abc import Sequence

import numpy as np

from autofreeze.errors import ConfigError
from autofreeze.recorded.landscape import Process, distances_between, features, matern
from autofreeze.recorded.luck import Floats, Luck, fit_luck, hits, worth_of
from autofreeze.recorded.surrogate import OUTPUTS, SCORED, Surrogate
from autofreeze.recorded.tables import RecordedRun, RecordedTable
from autofreeze.stability import BOUNDS


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
        y = np.array([outputs_of(run, epoch) for run in chosen])
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
    likeness = matern(distances_between(scaled, scaled) / processes[-1][0].length)
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


def outputs_of(run: RecordedRun, epoch: int) -> Floats:
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
        for loss in (record.log_loss, record.train_loss, record.phase_start_loss)
    ]
    worth, train = (float(worth_of(share * size, size)) for share, size in zip(shares, (n, 200), strict=True))
    return np.array([worth, *losses, train])


def _ceilings(runs: Sequence[RecordedRun], y: Floats) -> Floats:
    """Cap what breaking runs show, so that a few do not decide how the others are told apart."""
    usual = np.array(["meant" not in run.origin for run in runs])
    most, middle = y[usual].max(0), np.median(y[usual], axis=0)
    room = np.where(np.arange(y.shape[1]) < SCORED, 0.5, 3.0)
    caps: Floats = most + room * (most - middle)
    # A training loss must be able to show a spike.
    train, start = OUTPUTS.index("train_loss"), OUTPUTS.index("start_loss")
    caps[train] = max(caps[train], most[start] + math.log(2 * (BOUNDS.loss_spike or 1.0)))
    return caps


def _depth_means(depth: RecordedTable, n_epochs: int) -> dict[str, tuple[Floats, int]]:
    """Schedule -> mean outputs by epoch over the seeds, (epochs, outputs), and the number of seeds."""
    groups: dict[str, list[Floats]] = {}
    for run in depth.runs:
        outputs = np.array([outputs_of(run, epoch) for epoch in range(n_epochs)])
        groups.setdefault(run.job.settings_digest, []).append(outputs)
    return {digest: (np.mean(rows, axis=0), len(rows)) for digest, rows in groups.items()}


def _luck_variances(depth: RecordedTable) -> Floats:
    """Variance of a run's last outputs against those of others with its seed, the median of schedules."""
    digests = list(dict.fromkeys(run.job.settings_digest for run in depth.runs))
    rows: dict[int, dict[str, Floats]] = {}
    for run in depth.runs:
        rows.setdefault(run.job.seed, {})[run.job.settings_digest] = outputs_of(run, len(run.records) - 1)
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
