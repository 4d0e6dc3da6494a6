"""How many of a recipe's trials came near the best: robustness to the rate."""

from collections.abc import Callable

from autofreeze.measures import FEWEST_TRIALS, Robustness, near_of
from autofreeze.phrases import listed
from autofreeze.report.page.figure import Absent, Figure, label
from autofreeze.report.page.marks import cut, place
from autofreeze.report.page.palette import BEST, SERIES
from autofreeze.report.report import Report
from autofreeze.results import Ending

ID, TITLE = "robustness", "How many of a recipe's trials came near the best"


def figure(report: Report) -> Figure | Absent:
    """Draw two bars for each recipe: near its own best, and near the best of all."""
    rows = sorted(report.verdict.robustness, key=lambda one: one.near_own / one.trials)
    if not rows:
        return Absent(id=ID, title=TITLE, reason=_why_none(report))
    margin = report.result.scale.margin(near_of(report.result))
    own = _bars(rows, f"within {margin} of the recipe's own best", lambda one: one.near_own, SERIES[0], "")
    best = _bars(rows, f"within {margin} of the best of all", lambda one: one.near_best, BEST, "/")
    most = max(one.near_own / one.trials for one in rows)
    layout = {
        "barmode": "group",
        "bargap": 0.3,
        "bargroupgap": 0.08,
        "xaxis": {
            "title": {"text": "share of the recipe's trials"},
            "tickformat": ".0%",
            "range": [0, min(1.3 * most + 0.04, 1.25)],
            "nticks": 6,
            "automargin": True,
        },
        "yaxis": {
            "tickvals": list(range(len(rows))),
            "ticktext": [cut(_name(one), 26) for one in rows],
            "automargin": True,
            "ticklabelstandoff": 6,
            "showgrid": False,
            "zeroline": False,
        },
        "legend": {"traceorder": "reversed"},
    }
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(rows[::-1], margin),
        traces=(best, own),  # plotly stacks groups upwards
        layout=layout,
        height=150 + 64 * len(rows),
        note=_note(rows),
    )


def _bars(
    rows: list[Robustness], name: str, count: Callable[[Robustness], int], colour: str, hatch: str
) -> dict[str, object]:
    told = "<b>%{customdata[0]}</b><br>%{customdata[1]} of %{customdata[2]} trials"
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": list(range(len(rows))),
        "x": [place(count(one) / one.trials) for one in rows],
        "text": [f"{count(one)} of {one.trials}" for one in rows],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [[label(_name(one)), count(one), one.trials, count(one) / one.trials] for one in rows],
        "hovertemplate": f"{told} {name}<br>share %{{customdata[3]}}<extra></extra>",
        "marker": {"color": colour, "pattern": {"shape": hatch, "fillmode": "replace", "size": 6}},
    }


def _name(one: Robustness) -> str:
    return f"{one.name} at its tuned rates" if one.tuned else one.name


def _alt(rows: list[Robustness], margin: str) -> str:
    told = listed(
        f"of {one.trials} trials of {_name(one)} {one.near_own} came within {margin} of their own best and "
        f"{one.near_best} of the best of all"
        for one in rows
    )
    return f"{told[0].upper()}{told[1:]}."


def _note(rows: list[Robustness]) -> str:
    told = (
        f"Recipes with {FEWEST_TRIALS} trials or more, by search values of one seed. Pruned trials count as "
        "not near; failed ones are left out."
    )
    if any(not one.tuned for one in rows):
        told += (
            " Trials of a recipe differ in more than their rates, and the sampler tries more where it was"
            " good: a share is one of what was tried."
        )
    return told


def _why_none(report: Report) -> str:
    result = report.result
    if not any(one.ending is Ending.COMPLETE for one in result.trials):
        return "No trial was completed, so none can be near the best."
    if not near_of(result):
        return "Nobody said which difference matters (delta), so near has no meaning."
    return f"No recipe has {FEWEST_TRIALS} trials that were trained; fewer say little of how robust it is."
