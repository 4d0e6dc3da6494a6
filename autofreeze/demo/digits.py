"""The demonstration's images: scikit-learn's handwritten digits as class folders.

1,797 digits, 8×8 pixels of 17 grey levels. They lie inside scikit-learn, and are the test part of "Optical
Recognition of Handwritten Digits" (Alpaydin and Kaynak, UCI repository).
"""

from pathlib import Path

import numpy as np
from PIL import Image

BRIGHTEST = 16
"""Of the 17 levels."""


def write_digits(folder: Path, *, per_class: int, seed: int) -> None:
    """Write the digits as PNG into ``train/`` and ``test/``, a folder for each class.

    Args:
        folder: Where the two parts go; made when missing.
        per_class: Training images of each class, >= 2; all others are the test part.
        seed: Decides which ones train.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(seed)
    for label in np.unique(digits.target):
        ids = rng.permutation(np.flatnonzero(digits.target == label))
        for part, chosen in (("train", ids[:per_class]), ("test", ids[per_class:])):
            target = folder / part / str(label)
            target.mkdir(parents=True, exist_ok=True)
            for image in chosen:
                pixels = np.rint(digits.images[image] * (255 / BRIGHTEST)).astype(np.uint8)
                Image.fromarray(pixels).save(target / f"{image:04}.png")
