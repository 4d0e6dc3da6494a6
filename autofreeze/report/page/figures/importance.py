"""How much each axis mattered: PED-ANOVA."""

import re
from collections.abc import Sequence
from typing import Any

from autofreeze.axes import AXIS_WORDS
from autofreeze.importance import Importance, Importances
from autofreeze.phrases import counted, listed
from autofreeze.report.page.figure import Absent, Figure, label
from autofreeze.report.page.marks import cut, place
from autofreeze.report.page.palette import INK, OTHER, SERIES
from autofreeze.report.report import Report

ID, TITLE = "importance", "How much each axis mattered"

FEW = 20
"""Good trials below which shares are called loose: an axis is told by how these few lie on it."""

NAMES = {
    "warmup_epochs": "head-only epochs at first",
    "unfreeze_depth": "groups that train",
    "unfreeze_every": "epochs between thaws",
    "freeze_stem": "stem kept frozen",
    "rates": "how rates are spread",
    "head_lr": "rate of the head",
    "backbone_ratio": "backbone's rate ÷ head's",
    "depth_ratio": "lowest rate ÷ highest",
    "curve": "shape of the rate curve",
    "curve_over": "span of the rate curve",
    "lr_ramp_epochs": "ramp of the rate",
    "block": "which group trains",
    "optimizer": "optimizer",
    "batch_size": "batch size",
    "weight_decay": "weight decay",
    "momentum": "momentum",
    "label_smoothing": "label smoothing",
    "class_weights": "weights of classes",
    "views": "augmentation",
    "erase": "erased crops",
    "norm": "BatchNorm of trained groups",
}
"""Axis as a space file has it -> what it is, short enough for a tick."""

OFFSET = re.compile(r"group_offset_(\d+)")


def figure(report: Report) -> Figure | Absent:
    """Draw a bar for each axis, the heaviest on top."""
    found = report.evidence.importances
    if not found.axes:
        why = found.why_none or "the report holds no importances; they are worked out when a search writes it"
        return Absent(id=ID, title=TITLE, reason=f"Nothing can be said of it: {why.rstrip('.')}.")
    axes = found.axes[::-1]  # plotly counts from the bottom
    chances = [one.by_chance for one in axes if one.by_chance is not None]
    most = max([one.share for one in axes] + chances)
    told = [one for one in axes if one.is_told]
    others = [one for one in axes if not one.is_told]
    rows = {one.axis: row for row, one in enumerate(axes)}
    untold = "no more than chance gives" if chances else "share"
    traces = [
        _bars(told, rows, "more than chance gives", SERIES[0], ""),
        _bars(others, rows, untold, OTHER, "/"),
        _chances([one for one in axes if one.by_chance is not None], rows),
        _figures(axes),
    ]
    layout = {
        "barmode": "overlay",
        "bargap": 0.35,
        "showlegend": bool(chances),
        "xaxis": {
            "title": {"text": "share of all axes together"},
            "tickformat": ".0%",
            "range": [0, min(1.25 * most, 1.2)],
            "nticks": 5,
            "automargin": True,
        },
        "yaxis": {
            "tickvals": list(range(len(axes))),
            "ticktext": [_tick(one.axis) for one in axes],
            "range": [-0.6, len(axes) - 0.4],
            "ticklabelstandoff": 6,
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
        },
    }
    return Figure(
        id=ID,
        title=TITLE,
        alt=_alt(found),
        traces=tuple(one for one in traces if one["x"]),
        layout=layout,
        height=150 + 40 * len(axes),
        note=_note(found),
    )


def _bars(
    axes: Sequence[Importance], rows: dict[str, int], name: str, colour: str, hatch: str
) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": [rows[one.axis] for one in axes],
        "x": [place(one.share) for one in axes],
        "customdata": [[label(one.axis), label(in_words(one.axis)), one.share] for one in axes],
        "hovertemplate": (
            "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>share %{customdata[2]}<extra></extra>"
        ),
        "marker": {"color": colour, "pattern": {"shape": hatch, "fillmode": "replace", "size": 6}},
    }


def _chances(axes: Sequence[Importance], rows: dict[str, int]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "what chance rarely exceeds",
        "y": [rows[one.axis] for one in axes],
        "x": [place(one.by_chance) for one in axes],
        "customdata": [[label(one.axis), one.by_chance] for one in axes],
        "hovertemplate": (
            "<b>%{customdata[0]}</b><br>if it did not matter, its share would exceed %{customdata[1]} about "
            "once in twenty times<extra></extra>"
        ),
        "marker": {"color": INK, "symbol": "line-ns", "size": 22, "line": {"width": 2.5, "color": INK}},
    }


def _figures(axes: Sequence[Importance]) -> dict[str, Any]:
    """Write the shares behind bars and marks."""
    return {
        "type": "scatter",
        "mode": "text",
        "y": list(range(len(axes))),
        "x": [place(max(one.share, one.by_chance or 0.0)) for one in axes],
        "text": [f"  {label(_percent(one.share))}" for one in axes],
        "textposition": "middle right",
        "textfont": {"color": INK},
        "cliponaxis": False,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def name_of(axis: str) -> str:
    """Name an axis in a few words."""
    offset = OFFSET.fullmatch(axis)
    if offset:
        return f"own factor, group {offset[1]}"
    return NAMES.get(axis, axis)


def in_words(axis: str) -> str:
    """Say what an axis is; for the factor of one group, which."""
    offset = OFFSET.fullmatch(axis)
    if offset:
        return f"for per_group: factor on the backbone's rate for group {offset[1]}, counted from the head"
    return AXIS_WORDS.get(axis, axis)


def _tick(axis: str) -> str:
    name = name_of(axis)
    return cut(name, 30) if name == axis else f"{cut(name, 30)}<br><i>{cut(axis, 30)}</i>"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.005 else "< 1 %"


def _alt(found: Importances) -> str:
    told = listed(
        f"{name_of(one.axis)} ({one.axis}) {_percent(one.share)}" + (", beyond chance" if one.is_told else "")
        for one in found.axes
    )
    return f"Over {_basis(found)} each axis has this share: {told}."


def _basis(found: Importances) -> str:
    pruned = f" and {counted(found.pruned, 'pruned one')}" if found.pruned else ""
    return counted(found.trials, "complete trial") + pruned


def _note(found: Importances) -> str:
    best = f"the best {found.good}" if found.good else "the best"
    told = [
        f"Shares by PED-ANOVA: how far the values of an axis set {best} of {_basis(found)} apart from all of "
        "them.",
        "They say neither which values are good nor what two axes do together.",
    ]
    beyond = [name_of(one.axis) for one in found.axes if one.is_told]
    if beyond:
        told.append(f"More than chance gives: {listed(beyond)}.")
    elif any(one.by_chance is not None for one in found.axes):
        told.append(
            "No axis has more than chance gives among so few good trials: the bars' order means nothing."
        )
    if found.good and found.good < FEW:
        told.append(f"With {found.good} good trials shares are loose: another search would give other ones.")
    return " ".join(told)
