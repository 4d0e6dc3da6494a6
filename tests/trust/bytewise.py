"""Bytes changed at random: cut, flipped, doubled, moved, with numbers of extreme size written over them."""

import random
import struct
from collections.abc import Sequence

NUMBERS = (0, 1, 2**16, 20_000, 2**28, 2**31 - 1, 2**31, 2**32 - 1)
"""Written over lengths, offsets and sides."""


def changed(
    rng: random.Random, original: bytes, others: Sequence[bytes] = (), *, front: int = 200, most: int = 6
) -> bytes:
    """Change bytes in one to ``most`` places.

    Args:
        rng: Decides everything.
        original: What is changed.
        others: Of which pieces are put between; else pieces of itself.
        front: Half of the changes fall into so many bytes at the beginning, where sizes and tables stand.
        most: Changes at most.
    """
    raw = bytearray(original)
    for _ in range(rng.randint(1, most)):
        if len(raw) < 8:
            break
        at = rng.randrange(len(raw)) if rng.random() < 0.5 else rng.randrange(min(len(raw), front))
        _change(rng, raw, at, others or (original,))
    return bytes(raw)


def _change(rng: random.Random, raw: bytearray, at: int, others: Sequence[bytes]) -> None:
    how = rng.random()
    if how < 0.4:
        raw[at] = rng.choice((0, 255, 127, 128, raw[at] ^ 1 << rng.randrange(8), rng.randrange(256)))
    elif how < 0.5:
        del raw[at:]
    elif how < 0.6:
        kind = rng.choice(("<I", ">I", "<Q"))
        raw[at : at + struct.calcsize(kind)] = struct.pack(kind, rng.choice(NUMBERS))
    elif how < 0.7:
        other = rng.randrange(len(raw))
        raw[at:at] = raw[other : other + rng.randrange(64)]
    elif how < 0.8:
        del raw[at : at + rng.randrange(32)]
    elif how < 0.9:
        other_raw = rng.choice(others)
        start = rng.randrange(len(other_raw))
        raw[at : at + 20] = other_raw[start : start + 20]
    else:
        raw += rng.randbytes(10)


def difference(before: bytes, after: bytes) -> str:
    """Say in short what was changed."""
    at = next((at for at, (was, now) in enumerate(zip(before, after, strict=False)) if was != now), None)
    if at is None:
        at = min(len(before), len(after))
    was, now = before[at : at + 24], after[at : at + 24]
    return f"{len(after)} bytes, not {len(before)}; from byte {at} {now!r}, not {was!r}"
