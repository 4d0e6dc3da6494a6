"""Repeatable augmentation: what an image looks like is a function of the seed, the image and the view number.

No state, no worker, no order enters: any batch of any process computes the same view. What is drawn stands
here; ``pixels.py`` makes the pixels.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autofreeze.errors import ConfigError

Indices = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.float64]

LARGEST_BANK = 99
"""Views in a bank, at most. One alone would be no augmentation."""

VIEW_PATTERN = "none|flip|bank:([2-9]|[1-9][0-9])|online"
"""How views are written, as a regular expression."""

VIEW_WORDS = f"none, flip, bank:K with K in 2..{LARGEST_BANK} such as bank:8, or online"
PARTNER_VIEWS = ("mixup", "cutmix")
"""Views that need a second image: no pure function of one image, so refused in a search."""

CROP_AREA = (0.35, 1.0)
CROP_RATIO = 4 / 3
"""Area of a crop as a share of the image, and the widest of its shapes; the tallest is the inverse.

Torchvision's ``RandomResizedCrop`` and timm have these shapes, and areas from .08: made for pretraining on
a million photographs. A crop enlarges what it shows by 1/√area, on the mean by 2/(1 + √smallest): 1.56 from
.08, 1.26 from .35. But images are judged unenlarged (the discrepancy of arXiv 1906.06423), stored ones have
few pixels (a crop of .08 of 96 px shows 27 px of them), and small nets want milder crops (arXiv 1704.04861,
section 3; github.com/pytorch/vision/issues/342).
"""

ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = 3.3
"""The same of an erased rectangle, as in torchvision's ``RandomErasing`` (arXiv 1708.04896: areas to .4)."""

CROPS_VERSION = 1
"""Stands in the names of prepared views. Raise it whenever the pixels of a number change."""

_BANK_SEED = 0x62616E6B
"""Banks do not hang on a run's seed, so that all trials, folds and seeds of a search share their views."""

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


def problem_of(view: str) -> str:
    """Say what is wrong with the name of views; empty when nothing is."""
    return "" if re.fullmatch(VIEW_PATTERN, view) else f"got {view!r}; must be {VIEW_WORDS}"


def crops(view: str) -> bool:
    """Whether the views are random crops, in which a rectangle may be erased."""
    return view == "online" or view.startswith("bank:")


def for_training(view: str) -> str:
    """Give the views that a training on its own uses, where nothing is shared: new ones instead of a bank."""
    return "online" if view.startswith("bank:") else view


def prepared(view: str) -> int | None:
    """Give how many different views of an image there are; None where they never repeat."""
    return {"none": 1, "flip": 2, "online": None}[view] if ":" not in view else int(view.partition(":")[2])


def numbers(view: str, seed: int, image_ids: Indices, epoch: int) -> Indices:
    """Say which view of each image an epoch shows.

    Args:
        view: ``none`` has view 0 alone. ``flip`` tosses a coin: 1 is mirrored. ``bank:K`` walks through its K
            views in an order that the seed and the image decide, anew after every K epochs, so that each K
            epochs show every view once. ``online`` has a new view each epoch.
        seed: Any integer; taken modulo 2**64.
        image_ids: (n,), int64.
        epoch: From 0.

    Returns:
        (n,), int64, 0..``prepared(view)`` - 1. Each depends on its own image id alone.
    """
    n = len(image_ids)
    if view == "none":
        return np.zeros(n, dtype=np.int64)
    if view == "flip":
        return flips(seed, image_ids, epoch).astype(np.int64)
    size = prepared(view)
    if size is None:
        return np.full(n, epoch, dtype=np.int64)
    cycle, place = divmod(epoch, size)
    words = _draws(seed, image_ids, np.full(n, cycle, dtype=np.int64), size)
    walked: Indices = np.argsort(words, axis=1, kind="stable")[:, place].astype(np.int64)
    return walked


def kind(view: str, number: int, *, erase: float = 0.0) -> str:
    """Name what is prepared as one view: the same name for the same pixels of an image, whatever the run.

    Banks of all sizes share their first views. Those of ``online`` hang on the run's seed beside.

    Args:
        view: Views of a regime.
        number: One of ``numbers``.
        erase: Of the regime.
    """
    if not crops(view):
        return "flipped" if number else "plain"
    erased = f", erased {erase!r}" if erase else ""
    return f"{view.partition(':')[0]} {number}, crops v{CROPS_VERSION}{erased}"


@dataclass(frozen=True)
class Cropping:
    """What the crops of a batch take from where. Places are shares: 0 and 1 are the image's edges."""

    rows: Places
    """(n, height), where the middles of each view's rows lie in its image."""

    columns: Places
    """(n, width), where those of its columns lie; falling where the view is mirrored."""

    erased: Places
    """(n, 4), what is erased in the view: top, bottom, left, right of a rectangle, which may be empty."""


def cropping(
    view: str,
    image_ids: Indices,
    numbers: Indices,
    height: int,
    width: int,
    *,
    seed: int,
    erase: float = 0.0,
) -> Cropping:
    """Draw the crops, flips and erased rectangles of views: a function of (seed, image id, number) alone.

    As torchvision's ``RandomResizedCrop``, ``RandomHorizontalFlip`` and ``RandomErasing`` draw them, but for
    two things: crops need not begin and end between pixels, so that none comes twice; and where those draw
    again because a rectangle does not fit, here the shape is drawn among those that do.

    Args:
        view: ``bank:K`` or ``online``. A bank does not hang on the seed.
        image_ids: (n,), int64.
        numbers: (n,), from :func:`numbers`.
        height: Of the views, in pixels.
        width: Of the views, in pixels.
        seed: Of the run's views.
        erase: Share of the views in which a rectangle is erased, 0..1. A higher one erases in further views
            too, and leaves the others as they are.
    """
    words = _draws(seed if view == "online" else _BANK_SEED, image_ids, numbers, 10)
    # 53 bits: exact as a decimal number, and below 1.
    u = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    top, bottom, left, right = _rectangles(u[:, :4], CROP_AREA, CROP_RATIO)
    rows, columns = _middles(top, bottom, height), _middles(left, right, width)
    columns = np.where(u[:, 4:5] < 0.5, columns[:, ::-1], columns)
    erased = np.stack(_rectangles(u[:, 6:], ERASED_AREA, ERASED_RATIO), axis=1)
    return Cropping(rows, columns, np.where(u[:, 5:6] < erase, erased, 0.0))


def _rectangles(u: Places, areas: tuple[float, float], ratio: float) -> tuple[Places, Places, Places, Places]:
    """Make rectangles of four numbers each: area, shape, and where they lie.

    Returns:
        Top, bottom, left and right. Areas are uniform, the logarithms of width over height too.
    """
    area = areas[0] + (areas[1] - areas[0]) * u[:, 0]
    widest = np.minimum(math.log(ratio), -np.log(area))
    slant = np.exp((u[:, 1] - 0.5) * widest)
    high, wide = np.sqrt(area) / slant, np.sqrt(area) * slant
    top, left = u[:, 2] * (1 - high), u[:, 3] * (1 - wide)
    return top, top + high, left, left + wide


def _middles(start: Places, end: Places, n: int) -> Places:
    """Give the middles of ``n`` equal parts of each stretch, (number of stretches, n).

    None lies beyond the middle of the image's outermost pixels: there is nothing to look at between that and
    the edge.
    """
    parts: Places = (np.arange(n) + 0.5) / n
    return np.clip(start[:, None] + (end - start)[:, None] * parts, parts[0], parts[-1])


def flips(seed: int, image_ids: Indices, view: int) -> npt.NDArray[np.bool_]:
    """Say which images are mirrored in a view: a fair coin for each (seed, image id, view number).

    Args:
        seed: Any integer; taken modulo 2**64.
        image_ids: (n,), int64.
        view: View number, usually the epoch, from 0.

    Returns:
        (n,), bool. Each value depends on its own image id alone.

    Source:
        Mixing function: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
        OOPSLA 2014; constants as in Vigna's ``splitmix64.c``), chained over the three counters.
    """
    hashed = _hashed(seed, image_ids, _words(view))
    coins: npt.NDArray[np.bool_] = (hashed >> np.uint64(63)).astype(np.bool_)
    return coins


def order(seed: int, epoch: int, n: int) -> Indices:
    """Give the order of ``n`` images in an epoch: a permutation, int64 (n,), by (seed, epoch) alone.

    Made from the generator's raw words, whose stream NumPy promises to keep, unlike that of ``permutation``.

    Source:
        Philox 4x64 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), keyed by
        (seed, epoch), in NumPy.
    """
    philox = np.random.Philox(key=np.concatenate([_words(seed), _words(epoch)]))
    permutation: Indices = np.argsort(philox.random_raw(n), kind="stable").astype(np.int64)
    return permutation


def batches(order: Indices, batch_size: int) -> list[Indices]:
    """Cut an order into ceil(n / batch_size) batches of even size, which differ by one image at most.

    So none is a small rest: with ``batch_size`` of 3 or more, a batch of one image comes only where n is 1.

    Raises:
        ConfigError: ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size: got {batch_size}; must be at least 1")
    if not len(order):
        return []
    return np.array_split(order, -(-len(order) // batch_size))


def _hashed(seed: int, image_ids: Indices, views: Words) -> Words:
    """Hash (seed, image id, view number), one word for each image."""
    key = _mix(_mix(_words(seed)) + views)
    return _mix(_mix(np.asarray(image_ids, dtype=np.int64).astype(np.uint64)) ^ key)


def _draws(seed: int, image_ids: Indices, views: Indices, n: int) -> Words:
    """Give ``n`` random words for each (seed, image id, view number): SplitMix64 from where they hash to."""
    states = _hashed(seed, image_ids, np.asarray(views, dtype=np.int64).astype(np.uint64))
    return _mix(states[:, None] + np.uint64(_GOLDEN) * np.arange(n, dtype=np.uint64))


def _words(value: int) -> Words:
    """Give an integer as an array of one: NumPy's arrays wrap around in silence, its scalars warn."""
    return np.array([value & _MASK], dtype=np.uint64)


def _mix(words: Words) -> Words:
    words = words + np.uint64(_GOLDEN)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
