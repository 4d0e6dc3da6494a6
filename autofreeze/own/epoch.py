"""What a training of one's own yields after each epoch, read and checked."""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autofreeze.errors import TrainingError
from autofreeze.values import did_you_mean

LARGEST = 1e100
"""A number beyond it, of either sign, counts as infinite: squares and sums of what is smaller are numbers."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch gave. Either ``value`` or ``scores`` is needed; the rest helps where it is known."""

    value: float | None = None
    """What the training is judged by, on examples that it does not train on; any number up to 1e100. The
    mean of the scores where those are given."""

    scores: Sequence[float] | None = None
    """The same by example, in an order that does not change, where the value is their mean: such as 1 for
    right and 0 for wrong. Schedules are then compared example by example, which tells far more."""

    ids: Sequence[str | int] | None = None
    """Names of these examples, where each seed is scored on others."""

    train_loss: float | None = None
    """Mean training loss of the epoch."""

    val_loss: float | None = None
    """Mean loss on the examples that are scored; lower breaks ties."""


NAMES = tuple(field.name for field in fields(Epoch))

Yielded = Epoch | Mapping[str, Any] | float
"""What may be yielded: an epoch, its fields as a mapping, or the bare value."""


@dataclass(frozen=True)
class Reading:
    """An epoch, read: plain numbers and arrays, not yet looked at for what is not finite."""

    value: float
    scores: NDArray[np.float64] | None
    ids: NDArray[np.int64] | None
    """Hashes of the names, (n,)."""

    train_loss: float | None
    val_loss: float | None

    @property
    def trouble(self) -> str:
        """Why the run cannot go on, in the words of ``stability.KINDS``; empty when it can."""
        if self.train_loss is not None and not math.isfinite(self.train_loss):
            return "non-finite loss"
        scored = [self.value, 0.0 if self.val_loss is None else self.val_loss]
        return "" if all(map(math.isfinite, scored)) else "non-finite validation"


def read_epoch(given: object) -> Reading:
    """Read what a training yielded.

    Raises:
        TrainingError: It is nothing that may be yielded; what is wrong is told with the way out.
    """
    if isinstance(given, Mapping):
        unknown = [str(name) for name in given if name not in NAMES]
        if unknown:
            hints = "; ".join(f"{name}: unknown{did_you_mean(name, list(NAMES))}" for name in unknown)
            raise TrainingError(f"fit yielded a mapping with fields that nobody reads: {hints}")
        given = Epoch(**given)
    if not isinstance(given, Epoch):
        value = _number("", given)
        return Reading(value, None, None, None, None)
    train_loss, val_loss = (
        None if loss is None else _number(f"{name}: ", loss)
        for name, loss in (("train_loss", given.train_loss), ("val_loss", given.val_loss))
    )
    told = None if given.value is None else _number("value: ", given.value)
    scores = None if given.scores is None else _numbers(given.scores)
    if scores is None:
        if told is None:
            raise TrainingError("fit yielded an epoch without a value; give value, or scores by example")
        if given.ids is not None:
            raise TrainingError("fit yielded ids without scores; give a score for each, or leave ids out")
        return Reading(told, None, None, train_loss, val_loss)
    mean = float(scores.mean()) if np.isfinite(scores).all() else math.nan
    if told is not None and not math.isfinite(told):
        mean = told
    elif told is not None and not math.isclose(told, mean, rel_tol=1e-4, abs_tol=1e-6):
        raise TrainingError(
            f"fit yielded value {told:g} with scores whose mean is {mean:g}; leave value out, or leave "
            "scores out where the value is no mean of them"
        )
    ids = None if given.ids is None else _hashes(given.ids, len(scores))
    return Reading(mean, scores, ids, train_loss, val_loss)


def _number(what: str, given: object) -> float:
    """Read one number; arrays and tensors of a single one count."""
    if not isinstance(given, bool | str | bytes) and given is not None:
        try:
            number = float(_on_host(given))
            return number if abs(number) <= LARGEST or math.isnan(number) else math.copysign(math.inf, number)
        except (TypeError, ValueError, RuntimeError):
            pass
    raise TrainingError(
        f"fit yielded {what}{_short(given)}; yield a number after each epoch, autofreeze.Epoch(value=…) or "
        "autofreeze.Epoch(scores=[…])"
    )


def _numbers(given: object) -> NDArray[np.float64]:
    try:
        scores = np.asarray(_on_host(given), dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):
        scores = np.zeros(0)
    if scores.ndim != 1 or not len(scores):
        raise TrainingError(
            f"fit yielded scores: {_short(given)}; must be numbers, one for each example that is scored"
        )
    return np.where(np.abs(scores) > LARGEST, np.copysign(np.inf, scores), scores)


def _hashes(given: Sequence[str | int], n: int) -> NDArray[np.int64]:
    """Turn names into numbers that are equal where the names are."""
    own = _on_host(given)
    names = own.tolist() if hasattr(own, "tolist") else list(own)
    wrong = [one for one in names if isinstance(one, bool) or not isinstance(one, int | str)]
    if wrong:
        raise TrainingError(f"fit yielded ids with {_short(wrong[0])}; each must be text or a whole number")
    if len(names) != n or len(set(names)) != len(names):
        raise TrainingError(
            f"fit yielded {len(names)} ids, {len(set(names))} of them different, for {n} scores; give each "
            "example one of its own"
        )
    digests = (hashlib.blake2b(repr(one).encode(), digest_size=8).digest() for one in names)
    return np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)


def _on_host(given: Any) -> Any:
    """Bring a tensor of any device to where numpy reads it."""
    return given.detach().cpu() if hasattr(given, "detach") else given


def _short(given: object) -> str:
    text = repr(given)
    return f"{text if len(text) <= 60 else text[:57] + '…'} ({type(given).__name__})"


def pack(numbers: NDArray[Any]) -> str:
    """Write float64 or int64 numbers as text: base64, little-endian."""
    return base64.b64encode(numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()).decode("ascii")


def unpack_scores(text: str) -> NDArray[np.float64]:
    """Read scores that :func:`pack` wrote."""
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(np.float64)


def unpack_ids(text: str) -> NDArray[np.int64]:
    """Read ids that :func:`pack` wrote."""
    return np.frombuffer(base64.b64decode(text), dtype="<i8").astype(np.int64)
