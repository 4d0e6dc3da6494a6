"""Layer groups: the columns of a schedule, and how a model's parameters are split into them."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Literal

from pydantic import Field, model_validator

from autofreeze.errors import BackboneError
from autofreeze.values import Value

Granularity = Literal["auto", "coarse", "fine"] | int
"""How finely a model is cut into columns; a number counts the groups of the backbone, without the head."""

AUTO_COLUMNS = 8
"""Most columns that ``auto`` makes, the head included."""


class LayerGroup(Value):
    """One column of the schedule: a run of consecutive layers that freeze and thaw together."""

    name: str
    """Short and unique, such as ``stem``, ``layer3``, ``blocks.2-3`` or ``head``."""

    parameters: tuple[str, ...]
    """Names of its parameters, in the model's order. Never empty."""

    modules: tuple[str, ...] = ()
    """The outermost modules that lie wholly in this group, for people to read."""

    n_parameters: int = Field(default=0, ge=0)
    """How many numbers its parameters hold."""

    work_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the forward pass's multiply-adds that it costs, 0..1."""

    boundary_bytes: int = Field(default=0, ge=0)
    """Size of what flows into it for one image, in bytes of float32."""


class LayerGroups(Value):
    """All columns of a model, the stem first and the head last; each parameter in exactly one of them."""

    groups: tuple[LayerGroup, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _check(self) -> "LayerGroups":
        names = [group.name for group in self.groups]
        if len(set(names)) != len(names):
            raise ValueError(f"group names must differ, got {', '.join(names)}")
        parameters = [name for group in self.groups for name in group.parameters]
        if len(set(parameters)) != len(parameters):
            raise ValueError("a parameter lies in two groups; each must lie in exactly one")
        if any(not group.parameters for group in self.groups):
            raise ValueError("a group holds no parameter; leave it out")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, stem first, head last."""
        return tuple(group.name for group in self.groups)

    @property
    def backbone(self) -> tuple[LayerGroup, ...]:
        """All columns but the head."""
        return self.groups[:-1]

    @property
    def head(self) -> LayerGroup:
        """The freshly initialised classifier, and nothing else."""
        return self.groups[-1]

    @property
    def work_shares(self) -> tuple[float, ...]:
        """Share of forward work by column; they sum to 1."""
        return tuple(group.work_share for group in self.groups)

    def __len__(self) -> int:
        return len(self.groups)


def split_layers(
    parameters: Mapping[str, int],
    *,
    fine: Mapping[str, int],
    coarse: Mapping[str, int],
    classifier: Sequence[str],
    work: Mapping[str, int],
    granularity: Granularity = "auto",
) -> LayerGroups:
    """Split parameter names into ordered backbone groups and the head.

    timm files everything after the last block under one final layer, so that layer can hold
    pretrained weights next to the new classifier (``conv_head`` in MobileNetV3). Here the head
    is the classifier alone; the rest of that layer joins the last backbone group.

    Args:
        parameters: Parameter name -> how many numbers it holds, in the model's order.
        fine: Parameter name -> layer number, 0 at the input, as
            ``timm.models.group_parameters(..., reverse=True)`` gives it for ``coarse=False``.
        coarse: The same for ``coarse=True``.
        classifier: Module names of the classifier (``pretrained_cfg["classifier"]``).
        work: Parameter name -> multiply-adds of the forward pass charged to it; absent is 0.
        granularity: ``auto`` (at most 8 columns: coarse layers, merged where they are too many, split where
            one holds over half of the work), ``coarse``, ``fine``, or how many backbone groups, >= 1, each
            a run of fine layers, the largest as light as can be.

    Returns:
        Groups that together hold every name in ``parameters`` once; ``boundary_bytes`` is left 0.

    Raises:
        BackboneError: A parameter has no layer, no parameter lies under ``classifier`` or outside it, no
            work was given, or the granularity is unknown or finer than the fine layers.

    Source:
        Layer numbering: timm 1.0, ``timm/models/_manipulate.py``, ``group_with_matcher``.
    """
    _check_granularity(granularity)
    _check_covered(parameters, fine)
    _check_covered(parameters, coarse)
    head = tuple(name for name in parameters if lies_under(name, classifier))
    if not head or len(head) == len(parameters):
        where = ", ".join(classifier) or "(none named)"
        raise BackboneError(
            f"the classifier {where} holds {len(head)} of the model's {len(parameters)} parameters; "
            "a head and a backbone are needed"
        )
    layers, neck = _backbone_layers(parameters, fine, head)
    if granularity == "fine":
        runs = layers
    elif granularity == "coarse":
        runs = _backbone_layers(parameters, coarse, head)[0]
    elif granularity == "auto":
        runs = _auto(_backbone_layers(parameters, coarse, head)[0], layers, work)
    else:
        runs = _numbered(layers, work, granularity)
    return _named_groups(parameters, [*runs, head], neck, work)


def lies_under(name: str, modules: Iterable[str]) -> bool:
    """Tell whether a parameter, buffer or module name is one of the modules or lies inside one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


_Run = tuple[str, ...]  # names of parameters that freeze and thaw together, in the model's order


def _check_granularity(granularity: object) -> None:
    if granularity in ("auto", "coarse", "fine") and isinstance(granularity, str):
        return
    if not isinstance(granularity, int) or isinstance(granularity, bool) or granularity < 1:
        raise BackboneError(
            f"granularity: got {granularity!r}; "
            "must be auto, coarse, fine or a number of backbone groups >= 1"
        )


def _check_covered(parameters: Mapping[str, int], layer_of: Mapping[str, int]) -> None:
    lost = [name for name in parameters if name not in layer_of]
    if lost:
        raise BackboneError(
            f"{len(lost)} of {len(parameters)} parameters lie in no layer of timm's group_matcher: "
            f"{_some(lost)}; every parameter must lie in exactly one group"
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _backbone_layers(
    parameters: Mapping[str, int], layer_of: Mapping[str, int], head: _Run
) -> tuple[list[_Run], frozenset[str]]:
    """Give the backbone's layers in order, and the names that shared the classifier's layer."""
    in_head = set(head)
    numbers = sorted({layer_of[name] for name in parameters})
    index = {number: i for i, number in enumerate(n for n in numbers if n != numbers[-1])}
    shares_last = any(layer_of[name] == numbers[-1] for name in head)
    neck = {n for n in parameters if shares_last and n not in in_head and layer_of[n] == numbers[-1]}
    if not shares_last:
        index[numbers[-1]] = len(index)
    last = max(len(index) - 1, 0)
    runs: list[list[str]] = [[] for _ in range(last + 1)]
    for name in parameters:
        if name not in in_head:
            runs[index.get(layer_of[name], last)].append(name)
    return [tuple(run) for run in runs if run], frozenset(neck)


def _load(run: _Run, work: Mapping[str, int]) -> int:
    return sum(work.get(name, 0) for name in run)


def _join(runs: Sequence[_Run], order: Mapping[str, int]) -> _Run:
    return tuple(sorted((name for run in runs for name in run), key=order.__getitem__))


def _auto(coarse: Sequence[_Run], fine: Sequence[_Run], work: Mapping[str, int]) -> list[_Run]:
    order = {name: i for i, name in enumerate(name for run in fine for name in run)}
    runs = list(coarse)
    while len(runs) > AUTO_COLUMNS - 1:
        # The stem stays apart: it is the one group that "freeze_stem" holds.
        lightest = min(range(1, len(runs) - 1), key=lambda i: _load(runs[i] + runs[i + 1], work))
        runs[lightest : lightest + 2] = [_join(runs[lightest : lightest + 2], order)]
    total = sum(work.values())
    while len(runs) < AUTO_COLUMNS - 1:
        heaviest = max(range(len(runs)), key=lambda i: _load(runs[i], work))
        inside = set(runs[heaviest])
        pieces = [piece for layer in fine if (piece := tuple(n for n in layer if n in inside))]
        if 2 * _load(runs[heaviest], work) <= total or len(pieces) < 2:
            break
        runs[heaviest : heaviest + 1] = [_join(part, order) for part in _even_parts(pieces, work, 2)]
    return runs


def _numbered(fine: Sequence[_Run], work: Mapping[str, int], groups: int) -> list[_Run]:
    if groups > len(fine):
        raise BackboneError(
            f"granularity: got {groups} backbone groups; "
            f"this model has {len(fine)} layers, so at most {len(fine)}"
        )
    order = {name: i for i, name in enumerate(name for run in fine for name in run)}
    return [_join(part, order) for part in _even_parts(fine, work, groups)]


def _even_parts(layers: Sequence[_Run], work: Mapping[str, int], parts: int) -> list[Sequence[_Run]]:
    """Cut layers into contiguous parts, none empty: the largest as light as can be, the rest as even."""
    sums = [0, *accumulate(_load(layer, work) for layer in layers)]
    largest = _best_cuts(sums, parts, lambda before, part: max(before, part))[0]
    cuts = _best_cuts(sums, parts, lambda before, part: before + part**2, limit=largest)[1]
    return [layers[start:stop] for start, stop in zip(cuts, [*cuts[1:], len(layers)], strict=True)]


def _best_cuts(
    sums: Sequence[int], parts: int, cost: Callable[[float, float], float], limit: float = float("inf")
) -> tuple[float, list[int]]:
    """Find where the parts start, with the least cost folded over the parts, by dynamic programming.

    Args:
        sums: Work of the first 0, 1, 2, … layers.
        parts: How many contiguous parts, none empty.
        cost: Cost so far and work of one more part -> cost with that part.
        limit: No part may weigh more.

    Returns:
        The least cost and the first layer of each part.
    """
    n = len(sums) - 1
    best: list[tuple[float, list[int]]] = [(0.0 if i == 0 else float("inf"), []) for i in range(n + 1)]
    for part in range(1, parts + 1):
        row: list[tuple[float, list[int]]] = [(float("inf"), []) for _ in range(n + 1)]
        for stop in range(part, n - (parts - part) + 1):
            for start in range(part - 1, stop):
                load = sums[stop] - sums[start]
                total = cost(best[start][0], load)
                if load <= limit and total < row[stop][0]:
                    row[stop] = (total, [*best[start][1], start])
        best = row
    return best[n]


def _named_groups(
    parameters: Mapping[str, int], runs: Sequence[_Run], neck: frozenset[str], work: Mapping[str, int]
) -> LayerGroups:
    total = sum(_load(run, work) for run in runs)
    if total <= 0:
        raise BackboneError(
            "no multiply-adds were measured in the forward pass; its work cannot be shared out"
        )
    below = Counter(prefix for name in parameters for prefix in _prefixes(name))
    taken = {"stem", "head"}
    groups = []
    for i, run in enumerate(runs):
        inside = Counter(prefix for name in run for prefix in _prefixes(name))
        whole = frozenset(prefix for prefix, count in inside.items() if count == below[prefix])
        if i in (0, len(runs) - 1):
            name = "stem" if i == 0 else "head"
        else:
            name = _unique(_natural_name(run, neck, whole), taken)
        taken.add(name)
        groups.append(
            LayerGroup(
                name=name,
                parameters=run,
                modules=_outermost(run, whole),
                n_parameters=sum(parameters[parameter] for parameter in run),
                work_share=_load(run, work) / total,
            )
        )
    return LayerGroups(groups=tuple(groups))


def _prefixes(parameter: str) -> list[str]:
    """Give the names of the modules around a parameter, the outermost first, the root left out."""
    parts = parameter.split(".")[:-1]
    return list(accumulate(parts, lambda outer, part: f"{outer}.{part}"))


def _outermost(run: _Run, whole: frozenset[str]) -> tuple[str, ...]:
    found = (next((p for p in _prefixes(name) if p in whole), None) for name in run)
    return tuple(dict.fromkeys(prefix for prefix in found if prefix is not None))


def _unique(name: str, taken: set[str]) -> str:
    candidates = [name, *(f"{name}~{i}" for i in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate not in taken)


def _natural_name(run: _Run, neck: frozenset[str], whole: frozenset[str]) -> str:
    """Name a group by the modules that hold most of its tensors, such as ``layer3`` or ``blocks.2-3``.

    What timm filed beside the classifier does not choose the name: the group is known by its blocks.
    """
    voters = {name for name in run if name not in neck} or set(run)
    path = ""
    while True:
        names = [name for name in run if name.startswith(path)]
        votes = Counter(_family(name, path) for name in names if name in voters)
        family = max(votes, key=votes.__getitem__)
        members = dict.fromkeys(_child(name, path) for name in names if _family(name, path) == family)
        if len(members) > 1:
            return _range_name(path + family, names, whole)
        path += next(iter(members))
        if path in whole or path in run:
            return path
        path += "."


def _child(name: str, path: str) -> str:
    return name.removeprefix(path).split(".")[0]


def _family(name: str, path: str) -> str:
    return re.sub(r"\d+$", "", _child(name, path))


def _range_name(stem: str, names: Sequence[str], whole: frozenset[str]) -> str:
    """Name a run of numbered siblings, such as ``blocks.2-3``, or ``blocks.2.1-3`` where one is not whole."""
    numbers = sorted({int(m[1]) for name in names if (m := re.match(re.escape(stem) + r"(\d+)(\.|$)", name))})
    first, last = (_edge(f"{stem}{n}", names, whole) for n in (numbers[0], numbers[-1]))
    low = first[0] if first else None
    high = last[-1] if last else None
    start = f"{stem}{numbers[0]}" + ("" if low is None else f".{low}")
    return f"{start}-{numbers[-1]}" + ("" if high is None else f".{high}")


def _edge(module: str, names: Sequence[str], whole: frozenset[str]) -> list[int]:
    if module in whole:
        return []
    return sorted({int(m[1]) for name in names if (m := re.match(re.escape(module) + r"\.(\d+)\.", name))})
