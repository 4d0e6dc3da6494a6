"""Images, labels and parts of one run."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autofreeze.preprocessing import Preprocessing


@dataclass(frozen=True)
class Examples:
    """Images and labels of one run, as positions in one store."""

    images: NDArray[np.uint8]
    """(n, size, size, 3), any array that can be indexed: a memory map as a rule."""

    labels: NDArray[np.int64]
    """(n,), 0..n_classes-1."""

    n_classes: int
    train: NDArray[np.int64]
    """Image ids of the training part, sorted."""

    val: NDArray[np.int64]
    """Image ids of the validation part, sorted; may be empty."""

    preprocessing: Preprocessing
