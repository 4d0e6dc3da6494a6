"""The notes that lie beside what the cache holds: what the data are, and all that their bytes follow from."""

import json
from typing import Any, Self

from pydantic import Field

from autofreeze.preprocessing import Channels, Preprocessing
from autofreeze.values import Value


class _Note(Value):
    def as_file(self) -> bytes:
        """Write the note as it lies in the cache, with its own hash under ``digest``."""
        plain = {**self.model_dump(mode="json"), "digest": self.digest}
        return (json.dumps(plain, indent=2) + "\n").encode()

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """Read what :meth:`as_file` wrote.

        Raises:
            ValueError: It is not what was written.
        """
        try:
            plain: dict[str, Any] = dict(json.loads(raw))
            digest = plain.pop("digest", None)
            note = cls.model_validate_json(json.dumps(plain))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"is no note: {error}") from None
        if digest != note.digest:
            raise ValueError("is not the note that was written")
        return note


class StoreNote(_Note):
    """What lies beside decoded images."""

    key: str
    n: int
    shape: tuple[int, int, int, int]
    """(n, size, size, 3)."""

    file_bytes: int
    """Length of the data file, header included."""

    preprocessing: Preprocessing
    decoder: str
    created: str
    """UTC, ISO 8601."""

    sha256: str
    """Of the data file."""

    unreadable: dict[int, str] = Field(default_factory=dict)
    """Image id -> why it cannot be decoded; its pixels are zeros."""

    data: str = ""
    """What the data set was called by whoever decoded it; the key knows contents alone."""


class FeatureSpec(Value):
    """All that the bits of the features of an image follow from.

    That is more than weights and pixels: with another number of threads, instruction set or version of a
    library, sums are taken in another order. ``features.here`` gives what the machine adds.
    """

    backbone: str
    """Hash of the pretrained weights."""

    model: str
    """timm name."""

    boundary: int = Field(ge=1)
    """The column that the features flow into; those below it are computed."""

    below: str
    """Hash of the names of the parameters below the boundary."""

    decoded: str
    """Key of the decoded images."""

    image_size: int
    """Pixels."""

    mean: Channels
    std: Channels
    view: str
    """What is prepared: ``plain``, ``flipped``, ``bank 3``."""

    erase: float = 0.0
    """Share of the views in which a rectangle is erased."""

    dtype: str = "float32"
    """torch's name of the type of the features."""

    chunk: int = Field(ge=1)
    """Images that are computed at a time, the last ones filled up."""

    device: str
    """``cpu``; of a GPU also its name and libraries."""

    threads: int
    """Of torch, on the CPU."""

    capability: str
    """Instruction set that torch uses on the CPU: ``AVX512``."""

    torch: str
    """Version."""

    timm: str
    """Version."""

    @property
    def key(self) -> str:
        """Hash of the content; equal specifications have equal keys."""
        return self.digest


class FeatureNote(_Note):
    """What lies beside stored features."""

    key: str
    spec: FeatureSpec
    ids: str
    """Hash of the ids of the images that are stored."""

    n: int
    """Images."""

    shapes: tuple[tuple[int, ...], ...]
    """Of each tensor, for one image."""

    strides: tuple[tuple[int, ...], ...]
    """How the numbers of one image lie in memory, by tensor: models differ in whether channels come last."""

    offsets: tuple[int, ...]
    """Where in the file the rows of each tensor begin, bytes."""

    file_bytes: int
    checksums: tuple[int, ...]
    """CRC-32 of the strides and the rows of each tensor."""

    created: str
    """UTC, ISO 8601."""

    data: str = ""
    """What the data set was called by whoever filled it."""
