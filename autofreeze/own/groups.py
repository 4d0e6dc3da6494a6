"""The columns of a training of one's own: layer groups by the names of their parameters."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from autofreeze.errors import BackboneError, ConfigError
from autofreeze.groups import LayerGroup, LayerGroups


@dataclass(frozen=True, init=False)
class Group:
    """One column of the schedule: modules that freeze and thaw together.

    Args:
        prefixes: Names of modules or parameters, as ``model.named_parameters()`` has them: ``encoder.0``
            holds all that lies inside it. With ``*`` or ``?`` it is a pattern for whole parameter names:
            ``gru.*_l0``.
        work: What a forward pass through it costs, in any unit, >= 0; given for all groups or for none.
    """

    prefixes: tuple[str, ...]
    work: float | None

    def __init__(self, *prefixes: str, work: float | None = None) -> None:
        object.__setattr__(self, "prefixes", prefixes)
        object.__setattr__(self, "work", work)

    def holds(self, parameter: str) -> bool:
        """Whether a parameter belongs to the group."""
        return any(_matches(prefix, parameter) for prefix in self.prefixes)


Given = Mapping[str, str | Sequence[str] | Group] | Sequence[str]
"""Groups as they are given: name -> prefixes, stem first, head last; or bare names, each its own prefix."""


@dataclass(frozen=True)
class OwnGroups:
    """The columns, stem first, head last."""

    groups: Mapping[str, Group]

    @classmethod
    def read(cls, given: object) -> "OwnGroups":
        """Check groups as they are given.

        Raises:
            ConfigError: Something is wrong with them; all of it is told.
        """
        named = _named(given)
        problems: list[str] = []
        groups: dict[str, Group] = {}
        for name, one in named.items():
            if not isinstance(name, str) or not name.strip():
                problems.append(f"groups: got {name!r} as a name; must be text")
                continue
            group, found = _read_one(one)
            problems += [f"groups.{name}: {problem}" for problem in found]
            if group is not None:
                groups[name] = group
        if len(named) < 2:
            problems.append(
                f"groups: got {len(named)}; at least two are needed, the head last, so that there is "
                "something to freeze"
            )
        problems += _overlaps(groups)
        without = [name for name, group in groups.items() if group.work is None]
        if without and len(without) < len(groups):
            problems.append(
                f"groups: {', '.join(without)} {'has' if len(without) == 1 else 'have'} no work, and others "
                "have; give it for all groups or for none"
            )
        elif groups and not without and not sum(group.work or 0.0 for group in groups.values()) > 0:
            problems.append("groups: the work of all is zero; leave it out, or give what was measured")
        if problems:
            raise ConfigError(problems)
        return cls(groups)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.groups)

    @property
    def measured(self) -> bool:
        """Whether the user said what each group costs."""
        return all(group.work is not None for group in self.groups.values())

    @property
    def work_shares(self) -> tuple[float, ...]:
        """Share of forward work by column, which sum to 1.

        Where nobody measured it, all groups but the head count alike, and the head counts as nothing: a fresh
        classifier costs little, and a depth means the same share of the backbone in every model.
        """
        if not self.measured:
            backbone = len(self.groups) - 1
            return (*(1 / backbone for _ in range(backbone)), 0.0)
        works = [group.work or 0.0 for group in self.groups.values()]
        return tuple(work / sum(works) for work in works)

    def plain(self) -> dict[str, Any]:
        """Give them as plain data, for a file."""
        return {
            name: list(group.prefixes) if group.work is None else [*group.prefixes, {"work": group.work}]
            for name, group in self.groups.items()
        }

    def of(self, sizes: Mapping[str, int]) -> LayerGroups:
        """Sort the parameters of a model into the columns.

        Args:
            sizes: Parameter name -> how many numbers it holds, in the model's order.

        Raises:
            BackboneError: A parameter lies in no group or in several, or a prefix names none; all is told.
        """
        homes = {
            parameter: [name for name, group in self.groups.items() if group.holds(parameter)]
            for parameter in sizes
        }
        problems = [
            f"{name}: {prefix!r} names no parameter of the model"
            for name, group in self.groups.items()
            for prefix in group.prefixes
            if not any(_matches(prefix, parameter) for parameter in sizes)
        ]
        lost = [parameter for parameter, own in homes.items() if not own]
        if lost:
            problems.append(f"no group holds {_some(lost)}; every parameter must lie in exactly one group")
        twice = [f"{parameter} ({' and '.join(own)})" for parameter, own in homes.items() if len(own) > 1]
        if twice:
            problems.append(f"several groups hold {_some(twice)}; every parameter must lie in exactly one")
        if problems:
            raise BackboneError([*problems, f"the model's parameters lie in {_some(_outermost(sizes), 12)}"],
                                where="groups")  # fmt: skip
        shares = self.work_shares
        return LayerGroups(
            groups=tuple(
                LayerGroup(
                    name=name,
                    parameters=tuple(parameter for parameter, own in homes.items() if own == [name]),
                    n_parameters=sum(sizes[parameter] for parameter, own in homes.items() if own == [name]),
                    work_share=min(share, 1.0),
                )
                for name, share in zip(self.groups, shares, strict=True)
            )
        )


def _named(given: object) -> Mapping[Any, Any]:
    if isinstance(given, Mapping):
        return given
    if isinstance(given, Sequence) and not isinstance(given, str):
        twice = sorted({str(one) for one in given if list(given).count(one) > 1})
        if twice:
            raise ConfigError(f"groups: {', '.join(twice)} named twice; each group has a name of its own")
        return {one: one for one in given}
    raise ConfigError(
        f"groups: got {given!r}; must map names to prefixes of parameters, stem first, head last: "
        '{"body": "encoder", "head": "classifier"}'
    )


def _read_one(given: object) -> tuple[Group | None, list[str]]:
    """Read the prefixes of one group; gives what is wrong beside."""
    group = given if isinstance(given, Group) else None
    if group is None and isinstance(given, str):
        group = Group(given)
    if group is None and isinstance(given, Sequence):
        group = Group(*given)
    if group is None:
        return None, [f"got {given!r}; must be a prefix, a list of them, or autofreeze.Group(…, work=…)"]
    problems = []
    if not group.prefixes:
        problems.append("holds nothing; name the modules or parameters in it, or leave it out")
    wrong = [one for one in group.prefixes if not isinstance(one, str) or not one.strip(".").strip()]
    problems += [f"got {one!r} as a prefix; must be the name of a module or a parameter" for one in wrong]
    work = group.work
    if work is not None and (
        isinstance(work, bool) or not isinstance(work, int | float) or not 0 <= work < math.inf
    ):
        problems.append(f"work: got {work!r}; must be a number >= 0, in any unit")
    return (None, problems) if problems else (group, [])


def _overlaps(groups: Mapping[str, Group]) -> list[str]:
    """Find prefixes that lie inside each other, in two groups or in one."""
    pairs = [(name, prefix) for name, group in groups.items() for prefix in group.prefixes]
    return [
        f"groups: {inner!r} of {name} lies in {outer!r} of {other}; each parameter must lie in exactly one "
        "group, so name the modules inside one by one"
        for place, (name, inner) in enumerate(pairs)
        for position, (other, outer) in enumerate(pairs)
        if place != position
        and name != other
        and not _is_pattern(inner)
        and _matches(outer, inner)
        and (inner != outer or place < position)
    ]


def _is_pattern(prefix: str) -> bool:
    return any(char in prefix for char in "*?[")


def _matches(prefix: str, name: str) -> bool:
    if _is_pattern(prefix):
        return fnmatchcase(name, prefix)
    stem = prefix.rstrip(".")
    return name == stem or name.startswith(f"{stem}.")


def _outermost(parameters: Iterable[str]) -> list[str]:
    """Name the modules one below the root, and those inside where there is one alone."""
    names = list(parameters)
    path = ""
    while True:
        below = list(dict.fromkeys(name.removeprefix(path).split(".")[0] for name in names))
        if len(below) != 1 or path + below[0] in names:
            return [path + one for one in below]
        path += f"{below[0]}."


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
