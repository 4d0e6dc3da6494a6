"""How the rows of a tensor lie in memory, kept when they are stored: kernels choose by it."""

from collections.abc import Sequence
from math import prod

from torch import Tensor


def row_strides(tensor: Tensor) -> tuple[int, ...]:
    """Strides within a row, if the row's numbers lie without gaps; else those of a contiguous row."""
    shape, strides = tensor.shape[1:], tensor.stride()[1:]
    expected = 1
    for stride, size in sorted(
        (stride, size) for stride, size in zip(strides, shape, strict=True) if size > 1
    ):
        if stride != expected:
            return _contiguous(shape)
        expected *= size
    return strides


def packed(tensor: Tensor, strides: Sequence[int]) -> Tensor:
    """Bring the rows of a tensor into the order of ``strides``: contiguous (n, numbers of a row)."""
    n, numbers = len(tensor), prod(tensor.shape[1:])
    if tensor.stride() == (numbers, *strides):
        return tensor.as_strided((n, numbers), (numbers, 1))
    rows = tensor.new_empty((n, numbers))
    unpacked(rows, tensor.shape[1:], strides).copy_(tensor)
    return rows


def unpacked(rows: Tensor, shape: Sequence[int], strides: Sequence[int]) -> Tensor:
    """See packed rows as the tensor that they were, (n, *shape); nothing is copied."""
    return rows.as_strided((len(rows), *shape), (rows.shape[1], *strides))


def empty_rows(like: Tensor, n: int) -> Tensor:
    """Make a tensor of n rows that lie as those of another one do."""
    rows = like.new_empty((n, prod(like.shape[1:])))
    return unpacked(rows, like.shape[1:], row_strides(like))


def _contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(prod(shape[place + 1 :]) for place in range(len(shape)))
