"""Seeds derived from seeds: each purpose has its own, and none depends on the order of events."""

import hashlib


def derive(seed: int, *purpose: str | int) -> int:
    """Derive a seed for one purpose.

    Args:
        seed: The study's or the trial's seed.
        purpose: Words and numbers that name the purpose, such as ``"head", 3``.

    Returns:
        A number in 0..2³¹-1: every random generator in use takes it.
    """
    text = "/".join([str(seed), *(str(part) for part in purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
