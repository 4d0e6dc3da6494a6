"""The plan of a search in words."""

from pathlib import Path

from autofreeze.plan import CANDIDATES, Plan
from autofreeze.report.words import roughly


def plan_lines(plan: Plan, *, device: str, out: Path, seconds: float | None = None) -> list[str]:
    """Say in a few lines what a search will cost and where it is kept.

    Args:
        plan: What is expected.
        device: What was measured.
        out: The run folder.
        seconds: What is left of the time that was given, if any was.
    """
    folds = f"{plan.folds} folds" if plan.folds > 1 else "1 fold"
    runs = ", ".join(f"{name} {roughly(spent)}" for name, spent in plan.baselines.items())
    each = [f"baselines: {runs}"] if runs else []
    if plan.draws:
        each.append(f"an average draw of the space {roughly(plan.draw)}")
    bound = ""
    if plan.draws and plan.most_seconds > 1.05 * plan.seconds:
        bound = f", {roughly(plan.most_seconds)} if every draw were the longest"
    more = []
    if plan.tuning:
        more.append(
            f"plan: then {plan.tuning} trials that tune baselines: about {roughly(plan.tuning_seconds)}"
        )
    if plan.fresh_seeds:
        more.append(
            f"plan: then about {CANDIDATES} schedules on up to {plan.fresh_seeds} fresh seeds: about "
            f"{roughly(plan.confirmation_seconds)}, less when some are left behind"
        )
    limit = "" if seconds is None else f"; --time ends it after {roughly(seconds)}"
    return [
        f"plan: {plan.trials} trials × {folds} × {plan.epochs:g} epochs, training on {plan.n_train:,} images "
        f"and scored on {plan.n_val:,} in a fold",
        f"plan: about {roughly(plan.seconds)} in all on {device} without pruning{bound}; pruning makes "
        "it less; " + "; ".join(each),
        *more,
        f"plan: measured on a few steps just now, so rough; kept in {out}, each trial as it ends{limit}",
    ]
