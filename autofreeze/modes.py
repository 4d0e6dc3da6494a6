"""Which layer group decides the mode of each module: training while it trains, evaluation while it is frozen.

Written down as it is applied: a module follows what it lies in, unless it is named itself. So a loop over the
names, the outer ones first, that calls ``model.get_submodule(name).train(trains[group])`` sets every module.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

Modes = dict[str, str]
"""Module name -> layer group, outer modules first. The root is named ``""`` and always there."""


def brief(column_of: Mapping[str, int], groups: Sequence[str]) -> Modes:
    """Name only the modules that follow another group than what they lie in.

    Args:
        column_of: Every module -> its column, as ``layers.module_groups`` gives it, parents before children.
        groups: Names of the columns.
    """
    return {
        name: groups[column]
        for name, column in column_of.items()
        if not name or column_of[name.rpartition(".")[0]] != column
    }


def from_parameters(groups: Mapping[str, Sequence[str]]) -> Modes:
    """Tell the modes by the names of parameters, where the modules themselves are not known.

    What a module holds decides; one with parameters of several groups follows the highest of them. Modules
    without parameters follow what they lie in: for dropout and pooling right under the root of a model that
    may be another group than ``layers.module_groups`` says, and no normalisation with weights is among them.

    Args:
        groups: Layer group -> names of its parameters, stem first, head last.
    """
    highest: dict[str, int] = {}
    for column, parameters in enumerate(groups.values()):
        for name in parameters:
            for module in _around(name):
                highest[module] = max(column, highest.get(module, 0))
    by_depth = sorted(highest, key=lambda name: (bool(name), name.count(".")))
    return brief({name: highest[name] for name in by_depth}, tuple(groups))


def outermost(groups: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Name each group by the outermost modules that lie wholly in it, and by parameters that lie in none.

    A parameter is in the group that names it, or that names a module around it.

    Args:
        groups: Layer group -> names of its parameters.
    """
    owners: dict[str, set[str]] = {}
    for group, parameters in groups.items():
        for name in parameters:
            for module in _around(name)[1:]:
                owners.setdefault(module, set()).add(group)
    return {
        group: tuple(
            dict.fromkeys(
                next((module for module in _around(name)[1:] if len(owners[module]) == 1), name)
                for name in parameters
            )
        )
        for group, parameters in groups.items()
    }


def _around(parameter: str) -> list[str]:
    """Give the modules around a parameter, the root first."""
    return ["", *accumulate(parameter.split(".")[:-1], lambda outer, part: f"{outer}.{part}")]
