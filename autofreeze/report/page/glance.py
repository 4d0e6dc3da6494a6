"""A search at a glance: the few figures that stand above everything else."""

from collections.abc import Iterator

from autofreeze.figures import error_of
from autofreeze.measures import best_baseline
from autofreeze.phrases import duration
from autofreeze.report.comparison import Compared
from autofreeze.report.page.blocks import Fact, Facts
from autofreeze.report.report import Report
from autofreeze.results import Ending


def glance(report: Report) -> Facts:
    """Give the best schedule's value, its lead, its cost, and what the search took."""
    return Facts(facts=tuple(_facts(report)))


def _facts(report: Report) -> Iterator[Fact]:
    result, rows = report.result, report.compared
    if rows:
        yield _value(report, rows[0])
        baseline = best_baseline(result)
        rival = next((row for row in rows[1:] if baseline is not None and row.trial == baseline.number), None)
        if rival is not None and rival.lead is not None:
            yield _lead(report, rival)
    work = report.verdict.work
    if work.run and work.full:
        yield Fact(label="work of one run", figure=f"{work.run / work.full:.2f} × full")
    complete = sum(one.ending is Ending.COMPLETE for one in result.trials)
    yield Fact(label="trials", figure=f"{len(result.trials):,}", detail=f"{complete:,} complete")
    yield Fact(label="time", figure=duration(result.seconds))


def _value(report: Report, row: Compared) -> Fact:
    scale, result = report.result.scale, report.result
    found = row.confirmed
    if found is None or found.mean is None:
        error = None if result.best is None else error_of(result, result.best)
        more = "" if error is None else f"± {error:.3f}, "
        return Fact(
            label=f"{result.metric} in the search", figure=scale.figure(row.value), detail=f"{more}one seed"
        )
    span = "" if found.low is None or found.high is None else scale.value_span(found.low, found.high)
    return Fact(label=f"{result.metric} on fresh seeds", figure=scale.figure(found.mean), detail=span)


def _lead(report: Report, row: Compared) -> Fact:
    scale, decision = report.result.scale, row.decision
    if decision is None or row.low is None or row.high is None:
        return Fact(label=f"over {row.name}", figure=scale.lead(row.lead), detail="in the search")
    span = scale.lead_span(row.low, row.high)
    return Fact(label=f"over {row.name}", figure=scale.lead(row.lead), detail=f"{span}: {decision}")
