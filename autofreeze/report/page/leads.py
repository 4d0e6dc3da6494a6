"""By how much the best schedule of each of several data sets is better than the baselines that all know."""

from collections.abc import Sequence

from autofreeze.phrases import listed
from autofreeze.report.page.figure import Absent, Figure, Trace, label
from autofreeze.report.page.palette import INK, SERIES
from autofreeze.results import DatasetOutcome, SummaryResult
from autofreeze.scale import Scale

ID, TITLE = "leads", "By how much the best schedule is better"
RIVALS = ("linear_probe", "full")
SYMBOLS = ("square", "circle")
LONGEST = 24
"""Characters of a name beside the axis; hovering gives it whole."""

ROW, AROUND = 44, 120
"""Pixels of a data set, and of what stands around all."""


def figure(summary: SummaryResult) -> Figure | Absent:
    """Draw a row for each data set whose metric is a share, a mark for each baseline."""
    known = [one for one in summary.datasets if any(name in one.lead_over for name in RIVALS)]
    drawn = [one for one in known if Scale.of(one.metric).unit == "points"]
    if not drawn:
        reason = "No best schedule has been compared with a baseline yet."
        if known:
            reason = "Leads are in nats of the loss alone; they stand in the table."
        return Absent(id=ID, title=TITLE, reason=reason)
    names = [_tick(one.name) for one in drawn]
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(drawn),
        traces=tuple(_trace(drawn, number) for number in range(len(RIVALS))),
        layout={
            "xaxis": {
                "title": {"text": "lead of the best schedule, pt"},
                "zeroline": True,
                "zerolinecolor": INK,
            },
            "yaxis": {
                "tickvals": list(range(len(drawn))),
                "ticktext": names,
                "range": [len(drawn) - 0.5, -0.5],
            },
        },
        height=AROUND + ROW * len(drawn),
        note=_note(drawn, len(known) - len(drawn)),
    )


def _trace(drawn: Sequence[DatasetOutcome], number: int) -> Trace:
    rival = RIVALS[number]
    rows = [(row, one) for row, one in enumerate(drawn) if rival in one.lead_over]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"over {rival}",
        "x": [100 * one.lead_over[rival] for _, one in rows],
        "y": [row for row, _ in rows],
        "customdata": [[label(one.name), one.lead_over[rival], _standing(one, rival)] for _, one in rows],
        "hovertemplate": (
            f"<b>%{{customdata[0]}}</b><br>over {rival}: %{{customdata[1]}}<br>%{{customdata[2]}}"
            "<extra></extra>"
        ),
        "marker": {
            "size": 11,
            "color": SERIES[number],
            "symbol": [SYMBOLS[number] + ("" if one.confirmed else "-open") for _, one in rows],
            "line": {"width": 2, "color": SERIES[number]},
        },
    }


def _standing(one: DatasetOutcome, rival: str) -> str:
    if rival not in one.decision_over:
        return "in the search, unconfirmed"
    return one.decision_over[rival] + ("" if one.confirmed else ", not concluded")


def _tick(name: str) -> str:
    return label(name if len(name) <= LONGEST else f"{name[:LONGEST]}…")


def _alt(drawn: Sequence[DatasetOutcome]) -> str:
    return f"The best schedule leads so: {'; '.join(map(_told, drawn))}."


def _told(one: DatasetOutcome) -> str:
    scale = Scale.of(one.metric)
    return f"{one.name}: " + listed(
        f"{scale.lead(one.lead_over[rival])} over {rival} ({_standing(one, rival)})"
        for rival in RIVALS
        if rival in one.lead_over
    )


def _note(drawn: Sequence[DatasetOutcome], left_out: int) -> str:
    told = "Filled marks: confirmed on fresh seeds. Hollow ones: as the search saw it, or not concluded."
    if all(one.confirmed for one in drawn):
        told = "All were confirmed on fresh seeds; intervals stand in each data set's own report."
    if left_out:
        told += f" Leads in nats of the loss ({left_out}) stand in the table alone."
    return told
