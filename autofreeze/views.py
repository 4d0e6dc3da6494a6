"""Repeatable augmentation: what an image looks like is a function of the seed, the image and the view number.

No state, no worker, no order enters: any batch of any process computes the same view.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from autofreeze.errors import ConfigError

if TYPE_CHECKING:
    import torch

Indices = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

View = Literal["none", "flip"]
PARTNER_VIEWS = ("mixup", "cutmix")
"""Views that need a second image: no pure function of one image, so refused in a search."""

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


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
    key = _mix(_mix(_words(seed)) + _words(view))
    hashed = _mix(_mix(np.asarray(image_ids, dtype=np.int64).astype(np.uint64)) ^ key)
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


def to_pixels(
    images: "torch.Tensor",
    flipped: "torch.Tensor | None",
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> "torch.Tensor":
    """Make what a backbone takes from stored images, on the device they are on.

    The operations and their order are torchvision's ``ToTensor`` and ``Normalize``: the bits are equal.

    Args:
        images: uint8 (n, h, w, 3).
        flipped: bool (n,), which to mirror left to right; ``None`` for none. Any device.
        mean: By channel, of pixels scaled to 0..1.
        std: By channel, of pixels scaled to 0..1.

    Returns:
        float32 (n, 3, h, w), contiguous in ``torch.channels_last``.
    """
    if flipped is not None:
        mirror = flipped.to(images.device).reshape(-1, 1, 1, 1)
        images = images.flip(2).where(mirror, images)
    pixels = images.contiguous().float()
    pixels.div_(255).sub_(pixels.new_tensor(mean)).div_(pixels.new_tensor(std))
    return pixels.permute(0, 3, 1, 2)


def _words(value: int) -> Words:
    """Give an integer as an array of one: NumPy's arrays wrap around in silence, its scalars warn."""
    return np.array([value & _MASK], dtype=np.uint64)


def _mix(words: Words) -> Words:
    words = words + np.uint64(_GOLDEN)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
