"""How long to train when nobody says: a rule by the size of the data."""

import math
import re

from autofreeze.errors import ConfigError

TARGET_STEPS = 600
MIN_EPOCHS, MAX_EPOCHS = 5, 30


def default_epochs(n_train: int, batch_size: int, steps: int = TARGET_STEPS) -> int:
    """Epochs of a run by the number of training images.

    As many as make ``steps`` optimizer steps, but at least 5 and at most 30. The number of steps follows
    BiT-HyperRule (arXiv 1912.11370), which fine-tunes on fewer than 20 000 images for 500 steps.

    Args:
        n_train: Images in the training part of one fold.
        batch_size: Images in a step.
        steps: What to aim at, >= 1.
    """
    steps_per_epoch = math.ceil(n_train / batch_size)
    return min(max(round(steps / steps_per_epoch), MIN_EPOCHS), MAX_EPOCHS)


def parse_work(text: str, *, option: str = "max-work") -> float:
    """Read an amount of work such as ``20000``, ``20k`` or ``1.5M``, in forward-equivalents.

    Raises:
        ConfigError: It is none, or not above zero.
    """
    units = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)", text.strip().lower())
    work = float(found[1]) * units[found[2]] if found else 0.0
    if work <= 0:
        raise ConfigError(
            f"{option}: got {text!r}; must be forward passes of one image, above zero: 20000, 20k, 1.5M"
        )
    return work


def parse_duration(text: str, *, option: str = "time") -> float:
    """Read a duration such as ``90s``, ``15m``, ``2h``, ``1h30m`` or ``1.5h`` as seconds.

    Raises:
        ConfigError: It is no duration, or not above zero.
    """
    units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "": 1}
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms]?)", text)
    whole = "".join(number + unit for number, unit in parts) == text.strip()
    whole = whole and (len(parts) == 1 or all(unit for _, unit in parts))  # 1h30 may mean minutes
    seconds = sum(float(number) * units[unit] for number, unit in parts) if whole else 0.0
    if seconds <= 0:
        raise ConfigError(f"{option}: got {text!r}; must be a time above zero such as 90s, 15m, 2h or 1h30m")
    return seconds
