"""Whether a cut model is as the whole one: the same bits out of the same step."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def rows_told(prefix: nn.Module, pixels: torch.Tensor) -> str:
    """Say whether features of an image depend on its place in the chunk or on the other images."""
    n = len(pixels)
    turned = pixels.roll(1, 0)
    others = pixels.flip(3)
    others[: n // 2] = pixels[: n // 2]
    with torch.no_grad():
        given, moved, mixed = prefix(pixels), prefix(turned), prefix(others)
    for one, two, three in zip(given, moved, mixed, strict=True):
        if not _same(one[: n // 2], three[: n // 2]):
            return "the features of an image depend on the other images computed with it"
        if not _same(one.roll(1, 0), two):
            return "the features of an image depend on its place among the images computed with it"
    return ""


def difference(
    whole: nn.Module, parts: nn.Module, prefix: nn.Module, suffix: nn.Module, pixels: torch.Tensor
) -> str:
    """Compare logits, gradients and buffers of one step; the first difference in words."""
    with own_chance(2):
        expected = whole(pixels.clone())
        expected.float().square().mean().backward()
    with own_chance(2):
        with torch.no_grad():
            features = prefix(pixels.clone())
        given = suffix(*features)
        given.float().square().mean().backward()
    if not _same(expected, given):
        return "a cut copy gives other logits than the whole"
    for (name, ours), theirs in zip(parts.named_parameters(), whole.parameters(), strict=True):
        if not _same(ours.grad, theirs.grad):
            return f"a cut copy gives {name} another gradient than the whole"
    for (name, buffer), other in zip(parts.named_buffers(), whole.buffers(), strict=True):
        if not _same(buffer, other):
            return f"a cut copy leaves another {name} than the whole"
    return ""


def _same(one: torch.Tensor | None, two: torch.Tensor | None) -> bool:
    """Whether two tensors are equal to the bit, NaN included; or both absent."""
    if one is None or two is None:
        return one is two
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    return torch.equal(_bits(one), _bits(two))


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def stir(model: nn.Module) -> None:
    """Change parameters and statistics, so that constants of the template show and zeros hide nothing."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
        for module in model.modules():
            for name in ("running_mean", "running_var"):
                statistic = getattr(module, name, None)
                if isinstance(statistic, torch.Tensor):
                    statistic.add_(torch.rand_like(statistic), alpha=0.1)


def noise(n: int, size: int) -> torch.Tensor:
    """Make images for the self-check: float (n, 3, size, size), channels last."""
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, 3, size, size, generator=generator).contiguous(memory_format=torch.channels_last)


@contextmanager
def own_chance(seed: int) -> Iterator[None]:
    """Draw from ``seed`` within the block, and put the global random state back."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would reseed the accelerators, which are not put back.
        torch.default_generator.manual_seed(seed)
        yield


def told(error: Exception) -> str:
    """Tell an error in one line."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
