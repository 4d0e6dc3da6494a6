"""From stored images to what a backbone takes: views rendered in batches, with no Python for each image."""

import numpy as np
import torch
from torch.nn import functional as F

from autofreeze import views
from autofreeze.views import Indices, Places


def render(
    view: str,
    images: torch.Tensor,
    image_ids: Indices,
    numbers: Indices,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    *,
    seed: int,
    erase: float = 0.0,
) -> torch.Tensor:
    """Make the pixels of views, on the device that the images are on.

    A function of each image's pixels and of (seed, image id, number): the batch that an image is in changes
    none of its bits.

    Args:
        view: Views of a regime: none, flip, bank:K or online.
        images: uint8 (n, h, w, 3).
        image_ids: (n,), whose images these are.
        numbers: (n,), which view of each, from ``views.numbers``.
        mean: By channel, of pixels scaled to 0..1.
        std: By channel, of pixels scaled to 0..1.
        seed: Of the run's views. Only those of ``online`` hang on it.
        erase: Share of the crops in which a rectangle is filled with the mean.

    Returns:
        float32 (n, 3, h, w), contiguous in ``torch.channels_last``.
    """
    if not views.crops(view):
        flipped = torch.from_numpy(numbers == 1) if view == "flip" else None
        return to_pixels(images, flipped, mean, std)
    height, width = images.shape[1:3]
    drawn = views.cropping(view, image_ids, numbers, height, width, seed=seed, erase=erase)
    pixels = to_pixels(images, None, mean, std)
    rows, columns = (
        torch.from_numpy((2 * places - 1).astype(np.float32)).to(images.device)
        for places in (drawn.rows, drawn.columns)
    )
    whole = (len(images), height, width)
    grid = torch.stack([columns[:, None, :].expand(whole), rows[:, :, None].expand(whole)], dim=3)
    # Crops only ever enlarge, so that nothing has to be smoothed before; and they lie inside: no padding.
    pixels = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if erase:
        pixels.masked_fill_(_inside(drawn.erased, height, width, images.device)[:, None], 0)
    return pixels.contiguous(memory_format=torch.channels_last)


def to_pixels(
    images: torch.Tensor,
    flipped: torch.Tensor | None,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> torch.Tensor:
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


def _inside(rectangles: Places, height: int, width: int, device: torch.device) -> torch.Tensor:
    """Give the pixels whose middles lie in each rectangle as a mask, bool (n, height, width)."""
    on_device = torch.from_numpy(rectangles.astype(np.float32)).to(device)  # some devices know no float64
    top, bottom, left, right = on_device[:, :, None].unbind(dim=1)
    rows, columns = ((torch.arange(size, device=device) + 0.5) / size for size in (height, width))
    high, wide = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return high[:, :, None] & wide[:, None, :]
