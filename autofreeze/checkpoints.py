"""Rolling checkpoints of running trials, and the model files that training leaves."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autofreeze.binding import Columns


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
    """Write tensors and plain data whole: an older file stays until the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            torch.save(state, stream)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path, model: nn.Module, device: torch.device) -> dict[str, Any]:
    """Load the tensors of a checkpoint into the model.

    Returns:
        The plain data beside them, and the optimizer's state under ``optimizer``.
    """
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(state.pop("model"), strict=False)
    return state


def _is_buffer_of(name: str, columns: Columns, ever_trained: Sequence[bool]) -> bool:
    """Whether a tensor is a buffer of a column that ever trained."""
    module = name.rpartition(".")[0]
    return (
        module in columns.of_module
        and ever_trained[columns.of_module[module]]
        and not any(name in group.parameters for group in columns.groups.groups)
    )
