"""A strip below a figure's values, for trials that have none: where they stood is seen there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autofreeze.report.page.figure import label
from autofreeze.report.page.marks import ENDING_MARKS, dot, place
from autofreeze.results import Ending, TrialResult
from autofreeze.stability import kind_of

ENDINGS = (Ending.FAILED, Ending.NOT_COMPARABLE, Ending.UNSTABLE, Ending.UNPROMISING)
"""Endings without a value of trials that were trained, from the lowest row up."""

SHORT = {
    Ending.UNPROMISING: "unpromising",
    Ending.UNSTABLE: "unstable",
    Ending.NOT_COMPARABLE: "not compared",
    Ending.FAILED: "failed",
}
STRIP_NOTE = "Trials that were pruned or broke off have no value; they stand on the strip below."


@dataclass(frozen=True)
class Strip:
    """The trials of a strip."""

    trials: tuple[TrialResult, ...]

    @property
    def rows(self) -> tuple[Ending, ...]:
        """The endings that occur, from the lowest row up."""
        there = {one.ending for one in self.trials}
        return tuple(ending for ending in ENDINGS if ending in there)

    def traces(self, places: Mapping[int, float], axes: dict[str, str]) -> list[dict[str, Any]]:
        """Draw them; their rows name them, so the legend need not.

        Args:
            places: Trial -> where it stands on the x axis; one that is missing is not drawn.
            axes: The axes' names, as keys of a trace.
        """
        found = []
        for row, ending in enumerate(self.rows):
            mark = ENDING_MARKS[ending]
            members = [one for one in self.trials if one.ending is ending and one.number in places]
            if not members:
                continue
            found.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": mark.words,
                    "showlegend": False,
                    "x": [place(places[one.number]) for one in members],
                    "y": [row] * len(members),
                    "customdata": [[one.number, label(_why(one))] for one in members],
                    "hovertemplate": "<b>trial %{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
                    "marker": dot(mark, len(self.trials)),
                    **axes,
                }
            )
        return found


def strip_of(trials: Sequence[TrialResult]) -> Strip:
    """Pick the trials that were trained and have no value."""
    return Strip(tuple(one for one in trials if one.ending in ENDINGS))


def strip_axis(rows: Sequence[Ending], *, labelled: bool = True) -> dict[str, Any]:
    """Lay out the axis of a strip: a row for each ending."""
    return {
        "range": [-0.7, len(rows) - 0.3],
        "tickvals": list(range(len(rows))),
        "ticktext": [SHORT[ending] for ending in rows],
        "showticklabels": labelled,
        "tickfont": {"size": 10},
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
    }


def _why(trial: TrialResult) -> str:
    """Say how it ended, in short: why in full stands in the table of reasons."""
    kind = kind_of(trial.reason) if trial.ending is Ending.UNSTABLE else None
    return f"{trial.ending.value}: {kind}" if kind else trial.ending.value
