"""How a cluster is shared out among trials: CPUs and GPUs of each, and how many at once. Knows no Ray."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autofreeze.bytesize import format_bytes
from autofreeze.errors import ConfigError
from autofreeze.phrases import counted, listed

STEP = 10_000
"""Ray counts resources in steps of one in so many."""

IN_HAND = 4
"""One in so many of a search's trials is run at once when nobody says: the others learn from it."""


@dataclass(frozen=True)
class NodeResources:
    """What a machine of the cluster offers."""

    name: str
    """What to call it, such as ``10.0.0.5``; no other node has it."""

    cpus: float
    gpus: float = 0.0
    gpu_memory: int | None = None
    """Bytes of its smallest GPU; None where nobody knows."""

    memory: int | None = None
    """Bytes of main memory that Ray may hand out; None where nobody knows."""


@dataclass(frozen=True)
class Placement:
    """What each trial gets, and where there is room for how many."""

    cpus: float
    """CPUs of each trial that are kept for it."""

    gpus: float
    """GPUs of each trial: 0, a share of one, or a whole number."""

    threads: int
    """CPU threads of each trial, >= 1; part of what makes a curve repeat."""

    slots: Mapping[str, int]
    """Node -> how many trials it has room for; all nodes, those without room too."""

    most: int
    """Trials at once that are wanted, at most."""

    @property
    def total(self) -> int:
        """Trials that the whole cluster has room for."""
        return sum(self.slots.values())

    @property
    def at_once(self) -> int:
        """Trials that run at once: as many as are wanted and have room."""
        return min(self.total, self.most)

    def on(self, nodes: Sequence[NodeResources]) -> "Placement":
        """Give the same shares on other nodes, such as when one has joined or is gone."""
        return replace(self, slots={node.name: _slots(node, self.cpus, self.gpus) for node in nodes})


def most_in_hand(trials: int, given: int | None = None) -> int:
    """Trials that a search runs at once, at most.

    Args:
        trials: Trials of the search, >= 1.
        given: What the user says.
    """
    return max(1, trials // IN_HAND) if given is None else given


def share_out(
    nodes: Sequence[NodeResources],
    *,
    gpus_per_trial: float | None = None,
    cpus_per_trial: float | None = None,
    threads: int | None = None,
    most: int,
    device: str = "auto",
) -> Placement:
    """Decide what each trial gets.

    Where there are GPUs and nothing is said, each trial has one, and the CPUs of a node go evenly with its
    GPUs, whole ones where there are enough. Without GPUs a trial has as many CPUs as ``threads``; when that
    is not said either, as many as keep all CPUs busy with ``most`` trials at once, one at least.

    Args:
        nodes: What there is.
        gpus_per_trial: GPUs of each trial as the user says: 0, a share of one, or a whole number.
        cpus_per_trial: CPUs of each trial as the user says, above zero.
        threads: CPU threads of each trial as the user says; by its CPUs when None.
        most: Trials at once that are wanted at most, >= 1.
        device: What trials run on: ``auto``, ``cpu``, ``cuda`` or ``mps``, which Ray counts as a GPU.

    Raises:
        ConfigError: No node has what a trial is to get, or there is no node.
    """
    if not any(node.cpus for node in nodes):
        raise ConfigError(
            "ray: no node of the cluster has a CPU to give; add one: ray start --address HOST:PORT"
        )
    gpus = _gpus(nodes, gpus_per_trial, device)
    problems = [
        *_problems_of_gpus(nodes, gpus, device),
        *_problems_of_cpus(nodes, cpus_per_trial),
        *_problems_of_device(gpus, device),
    ]
    if problems:
        raise ConfigError(problems)
    cpus = cpus_per_trial or (_beside_gpus(nodes, gpus, threads) if gpus else _alone(nodes, threads, most))
    found = Placement(
        cpus=cpus, gpus=gpus, threads=threads or max(1, math.floor(cpus)), slots={}, most=most
    ).on(nodes)  # fmt: skip
    if not found.total:
        raise ConfigError(_no_room(nodes, cpus, gpus))
    return found


def refuse_too_little_memory(
    needed: int, placement: Placement, nodes: Sequence[NodeResources], *, batch_size: int
) -> None:
    """Refuse shares of a GPU in which the largest step of a search does not fit.

    A trial that has whole GPUs is not refused: what becomes of its steps is the same as on one machine.

    Args:
        needed: Bytes of GPU memory that a step of full fine-tuning takes.
        placement: What each trial gets.
        nodes: What there is; those without room for a trial, or of unknown memory, are passed over.
        batch_size: Images in the step.

    Raises:
        ConfigError: On some node the share is too small; all of them are told.
    """
    if not 0 < placement.gpus < 1:
        return
    problems = [
        _too_little(node.name, needed, node.gpu_memory, placement.gpus, batch_size)
        for node in nodes
        if placement.slots.get(node.name)
        and node.gpu_memory is not None
        and needed > node.gpu_memory * placement.gpus
    ]
    if problems:
        raise ConfigError(problems)


def _gpus(nodes: Sequence[NodeResources], given: float | None, device: str) -> float:
    if given is not None:
        return given
    if device == "cpu":
        return 0.0
    return 1.0 if device == "cuda" or any(node.gpus >= 1 for node in nodes) else 0.0


def _slots(node: NodeResources, cpus: float, gpus: float) -> int:
    """Trials that a node has room for."""
    room = _fit(node.cpus, cpus)
    return min(room, _gpu_slots(node, gpus)) if gpus else room


def _gpu_slots(node: NodeResources, gpus: float) -> int:
    """Trials for which a node has GPUs: a share is of one GPU, never of parts of two."""
    return math.floor(node.gpus) * _fit(1.0, gpus) if gpus < 1 else _fit(node.gpus, gpus)


def _fit(whole: float, part: float) -> int:
    """How often a part goes into a whole, counted in Ray's own steps."""
    return round(whole * STEP) // max(1, round(part * STEP))


def _beside_gpus(nodes: Sequence[NodeResources], gpus: float, threads: int | None) -> float:
    """CPUs of each trial, so that no GPU stands idle for want of them."""
    used = [node for node in nodes if node.cpus and _gpu_slots(node, gpus)]
    even = min((node.cpus / _gpu_slots(node, gpus) for node in used), default=1.0)
    share = float(math.floor(even)) if even >= 1 else max(1, math.floor(even * STEP)) / STEP
    return share if threads is None else min(share, float(threads))


def _alone(nodes: Sequence[NodeResources], threads: int | None, most: int) -> float:
    """CPUs of each trial where there are no GPUs."""
    largest = max(node.cpus for node in nodes)
    if threads is not None:
        return min(float(threads), largest)
    if largest < 1:
        return largest
    widths = range(math.floor(largest), 1, -1)
    return float(next((one for one in widths if _room(nodes, one) >= most), 1))


def _room(nodes: Sequence[NodeResources], cpus: float) -> int:
    return sum(_fit(node.cpus, cpus) for node in nodes)


def _problems_of_gpus(nodes: Sequence[NodeResources], gpus: float, device: str) -> list[str]:
    largest = max(nodes, key=lambda node: node.gpus)
    if not gpus or gpus <= largest.gpus:
        return []
    if not largest.gpus:
        wanted = "device: got cuda" if device == "cuda" else f"gpus-per-trial: got {gpus:g}"
        return [
            f"{wanted}, and no node of the cluster has a GPU that Ray knows of: run on CPUs (--device cpu, "
            "without --gpus-per-trial), or start nodes with GPUs: ray start --num-gpus N"
        ]
    return [
        f"gpus-per-trial: got {gpus:g}; the largest node, {largest.name}, has {largest.gpus:g}, and a trial "
        f"runs on one node: give at most {largest.gpus:g}"
    ]


def _problems_of_cpus(nodes: Sequence[NodeResources], given: float | None) -> list[str]:
    largest = max(nodes, key=lambda node: node.cpus)
    if given is None or given <= largest.cpus:
        return []
    return [
        f"cpus-per-trial: got {given:g}; the largest node, {largest.name}, has {largest.cpus:g}, and a trial "
        f"runs on one node: give at most {largest.cpus:g}"
    ]


def _problems_of_device(gpus: float, device: str) -> list[str]:
    if gpus and device == "cpu":
        return [f"gpus-per-trial: got {gpus:g}, and the trials run on cpu; give 0, or --device cuda"]
    if not gpus and device == "cuda":
        return ["gpus-per-trial: got 0, and the trials run on cuda; give a share of a GPU, or --device cpu"]
    return []


def _no_room(nodes: Sequence[NodeResources], cpus: float, gpus: float) -> str:
    wanted = listed([*([f"gpus-per-trial {gpus:g}"] if gpus else []), f"cpus-per-trial {cpus:g}"])
    largest = sorted(nodes, key=lambda node: (-node.gpus, -node.cpus))[:3]
    have = [f"{node.name} has {_many(node.cpus, 'CPU')} and {_many(node.gpus, 'GPU')}" for node in largest]
    return f"{wanted}: no node has room for a trial ({listed(have)}); give less"


def _many(number: float, noun: str) -> str:
    return counted(int(number) if number == int(number) else number, noun)


def _too_little(node: str, needed: int, memory: int, gpus: float, batch_size: int) -> str:
    shares = (math.floor(STEP / parts) / STEP for parts in range(memory // needed, 0, -1))
    enough = next((share for share in shares if needed <= memory * share), None)
    way_out = (
        "a whole one does not suffice either; give a smaller batch"
        if enough is None
        else f"give --gpus-per-trial {enough:g}, or a smaller batch"
    )
    return (
        f"gpus-per-trial: got {gpus:g}; on {node} that is {format_bytes(int(memory * gpus))} of a GPU of "
        f"{format_bytes(memory)}, and a step of full fine-tuning at batch size {batch_size} takes "
        f"{format_bytes(needed)}: {way_out}"
    )
