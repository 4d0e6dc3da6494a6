"""Rolling checkpoints of running trials, and the model files that training leaves."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autofreeze.binding import Columns
from autofreeze.errors import ConfigError
from autofreeze.faults import is_want
from autofreeze.wholefile import written_whole


def save_checkpoint(
    path: Path,
    model: nn.Module,
    columns: Columns,
    ever_trained: Sequence[bool],
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
) -> None:
    """Write a checkpoint whole: the tensors of all columns that ever trained, and the optimizer.

    Args:
        path: File to write; an older one stays until the new one is complete.
        model: The model.
        columns: Its layer groups.
        ever_trained: Which columns have trained so far; the others are as they were loaded.
        optimizer: The optimizer.
        progress: Plain data to keep beside them.
    """
    parameters = {
        name
        for group, ever in zip(columns.groups.groups, ever_trained, strict=True)
        if ever
        for name in group.parameters
    }
    tensors = {
        name: tensor.detach()
        for name, tensor in model.state_dict().items()
        if name in parameters or _is_buffer_of(name, columns, ever_trained)
    }
    write_state(path, {"model": tensors, "optimizer": optimizer.state_dict(), **progress})


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain data whole: an older file stays until the new one is complete.

    Its folder is there since the run began: one that was removed meanwhile is not made again.

    Raises:
        OSError: It cannot be written.
    """
    with written_whole(path, to_disk=False, new_folder=False) as stream:
        torch.save(state, stream)


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Take whatever goes wrong while a run goes back to a checkpoint for damage of the file.

    Raises:
        ConfigError: It is damaged, or is no checkpoint.
    """
    try:
        yield
    except (ConfigError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if is_want(error):
            raise  # of memory or handles, which says nothing of the file
        raise ConfigError("is no checkpoint, or damaged; delete it to start anew", where=str(path)) from error


def read_state(path: Path, device: torch.device, *, run: str | None = None) -> dict[str, Any]:
    """Read what :func:`write_state` wrote; no code that the file holds is run.

    Args:
        path: The file.
        device: Where the tensors go.
        run: What it must say under ``run``; None: anything.

    Raises:
        ConfigError: It was written by another run, is damaged, or is no checkpoint.
    """
    with restoring(path):
        with zipfile.ZipFile(path) as archive:
            if (entry := archive.testzip()) is not None:  # torch itself looks at no checksum
                raise ValueError(f"{entry} is not what was written")
        state = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(state, dict) or (run is not None and "run" not in state):
        raise ConfigError("is no checkpoint of a training; delete it to start anew", where=str(path))
    if run is not None and state.pop("run", None) != run:
        raise ConfigError("is the checkpoint of another run; delete it to start anew", where=str(path))
    return state


def load_checkpoint(
    path: Path, model: nn.Module, device: torch.device, *, run: str | None = None
) -> dict[str, Any]:
    """Load the tensors of a checkpoint into the model.

    Args:
        path: What :func:`save_checkpoint` wrote.
        model: The model; where the checkpoint is refused, some of it may be loaded.
        device: Where the tensors go.
        run: What the checkpoint must say under ``run``; None: anything.

    Returns:
        The plain data beside them, and the optimizer's state under ``optimizer``.

    Raises:
        ConfigError: It was written by another run, is damaged, or is no checkpoint.
    """
    state = read_state(path, device, run=run)
    with restoring(path):
        unknown = model.load_state_dict(state.pop("model"), strict=False).unexpected_keys
        if unknown:
            raise ValueError(f"the model has no {unknown[0]}")
    return state


def _is_buffer_of(name: str, columns: Columns, ever_trained: Sequence[bool]) -> bool:
    """Whether a tensor is a buffer of a column that ever trained."""
    module = name.rpartition(".")[0]
    return (
        module in columns.of_module
        and ever_trained[columns.of_module[module]]
        and not any(name in group.parameters for group in columns.groups.groups)
    )
