"""Two processes that train replicas of a model by a bound schedule, and what became of them.

``tests/test_binding_replicas.py`` runs this file, which imports once and parts in two. Each half writes what
it found, ``rank0.json`` and ``rank1.json``.
"""

import functools
import hashlib
import json
import os
import runpy
import socket
import sys
import warnings
from pathlib import Path

import timm
import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes
from torch.nn.parallel import DistributedDataParallel

from autofreeze.binding import BoundSchedule, Columns
from autofreeze.errors import ConfigError
from autofreeze.layers import group_buffers, layer_groups
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule

STEPS = 2
"""Optimizer steps in an epoch."""

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "ddp_loop.py"


def table(groups, *rows):
    """Rows of (epochs, how many backbone groups from the head train)."""
    n = len(groups)
    phases = [
        Phase(epochs=epochs, lrs=tuple(1e-2 / (n - i) if i >= n - 1 - depth else None for i in range(n)))
        for epochs, depth in rows
    ]
    return Schedule(groups=groups, phases=tuple(phases))


def bound_to(rows, *, name="test_resnet", optimizer="adamw", guarded=True):
    """A bound schedule; each rank's head is another one, as in a loop that sets no seed."""
    torch.manual_seed(100 + dist.get_rank())
    model = timm.create_model(name, num_classes=3)
    columns = Columns.of(model, groups_of(name))
    schedule = table(columns.groups.names, *rows)
    regime = Regime(optimizer=optimizer)
    return BoundSchedule(schedule, model, columns, regime, STEPS, guarded=guarded)


@functools.cache
def groups_of(name):
    return layer_groups(timm.create_model(name, num_classes=3), "auto", 32)


def images(step):
    """This rank's batch: every rank has its own."""
    generator = torch.Generator().manual_seed(1000 * (1 + dist.get_rank()) + step)
    return torch.randn(4, 3, 32, 32, generator=generator)


def train(bound, wrapper, step):
    bound.optimizer.zero_grad()
    wrapper(images(step)).square().mean().backward()
    bound.optimizer.step()


def digest(tensors):
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def digests(bound):
    """Digests of what a replica holds, by kind; parameters by layer group."""
    model, trains, columns = bound.model, bound.trainable, bound._columns
    buffers = dict(model.named_buffers())
    frozen, moving = [], []
    for column, names in enumerate(group_buffers(model, columns.groups)):
        (moving if trains[column] else frozen).extend(buffers[name] for name in names)
    state = bound.optimizer.state
    held = [value for p in model.parameters() for _, value in sorted(state.get(p, {}).items())]
    return {
        "trainable": list(trains),
        "parameters": [digest(column) for column in bound.parameters],
        "frozen buffers": digest(frozen),
        "moving buffers": digest(moving),
        "optimizer": digest(held),
        "state tensors": len(held),
    }


def rewrapped():
    """The documented pattern: what replicas hold as a phase ends, and when they are wrapped again."""
    bound = bound_to([(1, 0), (1.5, 2), (0.5, 0), (1, 5)])
    ended, wrapped = [], []
    for step in range(bound.timetable.total_steps):
        before = digests(bound) if step else None
        if bound.start_step(step):
            ended.append(before)
            ddp = DistributedDataParallel(bound.model)
            wrapped.append(digests(bound))
        train(bound, ddp, step)
    return {"ended": [*ended[1:], digests(bound)], "wrapped": wrapped}


def wrapped_once(*, first, guarded, **options):
    """Wrapped before the first step or after it, and never again: what replicas hold, and what was raised."""
    bound = bound_to([(0.5, 0), (0.5, 2), (0.5, 0), (0.5, 5)], guarded=guarded)
    ddp = None if first == "bound" else DistributedDataParallel(bound.model, **options)
    told, step, held = "", 0, []
    try:
        for step in range(bound.timetable.total_steps):
            bound.start_step(step)
            ddp = ddp or DistributedDataParallel(bound.model, **options)
            held = digests(bound)
            train(bound, ddp, step)
    except (ConfigError, RuntimeError) as error:
        told = f"{type(error).__name__}: {error}"
    result = {"told": told, "step": step, "before": held, "after": digests(bound)}
    if guarded and told:
        ddp = DistributedDataParallel(bound.model)
        train(bound, ddp, step)  # and goes on when it is wrapped again
        result["wrapped again"] = digests(bound)
    return result


def as_one():
    """Both processes' batches, in parts, against one process that takes all; a model without BatchNorm."""
    rows = [(0.5, 0), (0.5, 2), (0.5, 5)]
    bound = bound_to(rows, name="test_vit", optimizer="sgd")
    for step in range(bound.timetable.total_steps):
        if bound.start_step(step):
            ddp = DistributedDataParallel(bound.model)
        bound.optimizer.zero_grad()
        first, second = images(step).split([1, 3])
        with ddp.no_sync():
            (ddp(first).square().sum() / 12).backward()
        (ddp(second).square().sum() / 12).backward()
        bound.optimizer.step()
    rank, result = dist.get_rank(), {}
    whole = []
    for step in range(bound.timetable.total_steps):
        parts = [torch.empty(4, 3, 32, 32) for _ in range(2)]
        dist.all_gather(parts, images(step))
        whole.append(torch.cat(parts))
    if rank == 0:
        alone = bound_to(rows, name="test_vit", optimizer="sgd")
        start = [p.detach().clone() for p in alone.model.parameters()]
        for step, batch in enumerate(whole):
            alone.start_step(step)
            alone.optimizer.zero_grad()
            alone.model(batch).square().mean().backward()
            alone.optimizer.step()
        pairs = list(zip(bound.model.parameters(), alone.model.parameters(), start, strict=True))
        result = {
            "off": max(float((a - b).detach().abs().max()) for a, b, _ in pairs),
            "moved": max(float((b - c).detach().abs().max()) for _, b, c in pairs),
        }
    return result


def work(rank, out, port):
    """One process: every scenario, and a file that tells what came of it."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": str(rank)}
    os.environ.update(place)  # as torchrun says it
    example = runpy.run_path(str(EXAMPLE))
    found = {
        "example": digests(example["bound"]),
        "wrapped again": rewrapped(),
        "drift": wrapped_once(first="bound", guarded=False),
        "drift refused": wrapped_once(first="bound", guarded=True),
        "raises": wrapped_once(first="wrapped", guarded=False),
        "raises refused": wrapped_once(first="wrapped", guarded=True),
        "looks for unused": wrapped_once(first="wrapped", guarded=True, find_unused_parameters=True),
        "as one": as_one(),
    }
    Path(out, f"rank{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    dist.destroy_process_group()


def main(out):
    """Run both processes to their end."""
    warnings.simplefilter("error")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    start_processes(work, args=(out, port), nprocs=2, start_method="fork")


if __name__ == "__main__":
    main(sys.argv[1])
