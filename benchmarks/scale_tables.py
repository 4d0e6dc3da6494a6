"""Tables of searches on many workers, each beside the one with one worker on the same draw."""

from collections.abc import Sequence
from typing import Any

import numpy as np

RESAMPLES = 2000

Line = dict[str, Any]
"""A played search, as ``scale.py`` writes it."""

Pair = tuple[Line, Line]
"""A search on many workers, and the one with one worker on the same draw with as many trials."""

SAME = ("cell", "times", "number", "trials", "sampler", "prune")


def alone(lines: Sequence[Line], ask: Line) -> Line:
    """Find the search with one worker beside which another is held."""
    return next(line for line in lines if line["workers"] == 1 and all(line[key] == ask[key] for key in SAME))


def longest_alone(lines: Sequence[Line], ask: Line) -> Line:
    """Find the search with one worker that went on for longest, on the same draw."""
    same = [name for name in SAME if name != "trials"]
    found = (line for line in lines if line["workers"] == 1 and all(line[key] == ask[key] for key in same))
    return max(found, key=lambda line: line["trials"])


def print_tables(lines: Sequence[Line]) -> None:
    """Print how fast, how good, and what the driver did."""
    groups: dict[tuple[Any, ...], list[Pair]] = {}
    for line in lines:
        if line["workers"] > 1:
            key = tuple(
                line[name] for name in (*SAME, "workers", "seconds", "reports", "state") if name != "number"
            )
            groups.setdefault(key, []).append((line, alone(lines, line)))
    best = best_of_draws(lines)
    ordered = [groups[key] for key in sorted(groups)]
    print_table(SPEED, [speed_row(pairs) for pairs in ordered])
    print_table(QUALITY, [quality_row(pairs, lines, best) for pairs in ordered])
    print_table(DRIVER, [driver_row(pairs) for pairs in ordered])


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print Markdown."""
    print(f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


WHAT = ("cell", "trials", "workers", "a trial", "n")


def what(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Name a group."""
    line = pairs[0][0]
    cell = line["cell"] + (f" × {line['times']}" if line["times"] > 1 else "")
    cell += "" if line["sampler"] == "tpe" else f", {line['sampler']}"
    cell += "" if line["prune"] else ", not pruned"
    cell += f", states at {line['state']:g} s" if line["state"] else ""
    return cell, f"{line['trials']:,}", str(line["workers"]), f"{line['seconds']:g} s", str(len(pairs))


SPEED = (
    *WHAT, "efficiency", "idle for the driver", "idle at the end", "speed-up, equal trials",
    "work, times that of one", "trained to the end; by one worker", "confirmation, trials long",
)  # fmt: skip


def speed_row(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Tell how fast."""
    lines = [line for line, _ in pairs]
    idle = [line["of_workers"].values() for line in lines]
    complete = [np.mean([one[place]["endings"].get("complete", 0) for one in pairs]) for place in (0, 1)]
    return (
        *what(pairs),
        f"{np.mean([line['efficiency'] for line in lines]):.1%}",
        *(f"{np.mean(share):.1%}" for share in zip(*idle, strict=True)),
        f"{np.mean([speed_up(*pair) for pair in pairs]):.1f}",
        f"{np.mean([line['work'] / one['work'] for line, one in pairs]):.2f}",
        f"{complete[0]:.0f}; {complete[1]:.0f}",
        f"{np.mean([line['confirmed']['makespan'] / line['seconds'] for line in lines]):.1f}",
    )


def speed_up(line: Line, one: Line) -> float:
    """Give how many times sooner as many trials are done."""
    return float((line["trials"] * line["seconds"] + sum(one["driver"].values())) / line["makespan"])


QUALITY = (
    *WHAT, "regret at equal work; of one worker", "ratio (95 %)", "regret at the end; of one worker",
    "confirmed; of one worker", "ratio (95 %)", "equal trials run side by side",
)  # fmt: skip


def quality_row(
    pairs: Sequence[Pair], lines: Sequence[Line], best: dict[tuple[Any, ...], float]
) -> tuple[str, ...]:
    """Tell how good, as regret in points against the best schedule that anybody met on the draw."""
    tops = np.array([best[draw_of(line)] for line, _ in pairs])[:, None]
    equal = tops - np.array([at_equal_work(line, longest_alone(lines, line)) for line, _ in pairs])
    end = tops - np.array([[one["truth"] for one in pair] for pair in pairs])
    confirmed = tops - np.array([[one["confirmed"]["truth"] for one in pair] for pair in pairs])
    twins = sum(line["run_twice"] for line, _ in pairs)
    return (
        *what(pairs), both(equal), ratio_interval(equal), both(end), both(confirmed),
        ratio_interval(confirmed), f"{twins} of {sum(line['trials'] for line, _ in pairs):,}",
    )  # fmt: skip


def draw_of(line: Line) -> tuple[Any, ...]:
    """Name the draw of images and landscape."""
    return line["cell"], line["times"], line["number"]


def best_of_draws(lines: Sequence[Line]) -> dict[tuple[Any, ...], float]:
    """Give the worth of the best schedule on each draw, of those that were met and of others looked at."""
    best: dict[tuple[Any, ...], float] = {}
    for line in lines:
        here = max(line["at_best_of_space"], line["at_best_of_trials"])
        best[draw_of(line)] = max(best.get(draw_of(line), 0.0), here)
    return best


def at_equal_work(line: Line, longest: Line) -> tuple[float, float]:
    """Give what each would choose when both have spent what the one that spends less has at its end.

    Args:
        line: A search on many workers.
        longest: The one with one worker that was given most trials: with fewer it would have begun the same.
    """
    work = min(line["work"], longest["work"])
    return at_work(line["curve"], work), at_work(longest["curve"], work)


def at_work(curve: Sequence[Sequence[float]], work: float) -> float:
    """Give the worth of what would be chosen after so much work; 0 before any trial is complete.

    Args:
        curve: (work, worth) of each choice, in order.
        work: Forward-equivalents.
    """
    return next((worth for spent, worth in reversed(curve) if spent <= work), 0.0)


def both(regrets: Any) -> str:
    """Write mean regrets in points, (n, 2)."""
    return "; ".join(f"{100 * mean:.2f}" for mean in regrets.mean(0))


def ratio_interval(regrets: Any) -> str:
    """Write the ratio of mean regrets, (n, 2), and its bootstrap interval over the draws, if several."""
    n = len(regrets)
    ratio = f"{regrets[:, 0].mean() / regrets[:, 1].mean():.2f}"
    if n == 1:
        return ratio
    drawn = regrets[np.random.default_rng(0).integers(n, size=(RESAMPLES, n))].mean(1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return f"{ratio} ({low:.2f}–{high:.2f})"


DRIVER = (
    *WHAT, "driver busy", "ask, median", "95 %", "longest", "asks", "judge, tell", "disk", "transport",
    "states", "report", "a worker waits for it",
)  # fmt: skip


def driver_row(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Tell what the driver did, as shares of the search's time."""
    lines = [line for line, _ in pairs]
    asks = np.mean([line["ask"] for line in lines], axis=0)
    names = ("ask", "study", "disk", "transport", "states", "report")
    shares = [[line["driver"].get(name, 0.0) / line["makespan"] for name in names] for line in lines]
    return (
        *what(pairs),
        f"{np.mean([line['driver_share'] for line in lines]):.1%}",
        *(f"{1000 * seconds:.0f} ms" for seconds in asks),
        *(f"{share:.1%}" for share in np.mean(shares, axis=0)),
        f"{1000 * np.mean([line['wait_for_driver'] for line in lines]):.1f} ms",
    )
