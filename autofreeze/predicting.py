"""Predicting by a trained model: from a file and images to the probability of each class."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autofreeze.allocator import keep_freed_memory
from autofreeze.decoding import Pixels, Unreadable, decode_in_order, image_decoder
from autofreeze.errors import AutofreezeError, ConfigError, DataError
from autofreeze.faults import lacks_memory
from autofreeze.modelfile import TrainedModel, read_model
from autofreeze.phrases import counted
from autofreeze.pixels import to_pixels
from autofreeze.report.predictions import Predicted, PredictionTable
from autofreeze.sources.listing import first
from autofreeze.sources.unlabelled import Unlabelled, list_unlabelled
from autofreeze.steps import autocast
from autofreeze.task import DeviceName
from autofreeze.trial import pick_device
from autofreeze.wholefile import written_whole

BATCH = 64
"""Images in one forward pass, unless told otherwise."""

_AS_TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
"""Names that are no text, as Linux allows them, are escaped: a table is UTF-8 in any case."""

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Predictions of some images, in their order."""

    names: tuple[str, ...]
    probabilities: NDArray[np.float64]
    """(n, classes), rows that sum to 1; NaN where there is no prediction."""

    problems: tuple[str, ...]
    """Why there is none, (n,); empty where there is one."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says of images."""

    files: tuple[str, ...]
    """Paths as they were given, those in a folder behind its path."""

    classes: tuple[str, ...]
    probabilities: NDArray[np.float64] = field(repr=False)
    """(files, classes), rows that sum to 1; NaN for an image that cannot be read."""

    problems: dict[str, str]
    """File -> why there is no prediction."""

    @cached_property
    def predicted(self) -> tuple[str | None, ...]:
        """The most probable class of each file; None for one that cannot be read."""
        known = np.isfinite(self.probabilities[:, 0])
        best = np.argmax(self.probabilities, axis=1)
        return tuple(self.classes[place] if there else None for place, there in zip(best, known, strict=True))


def predict(
    checkpoint: str | Path,
    images: Paths,
    *,
    batch_size: int = BATCH,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Predict images by a trained model, prepared as the images that it was validated on.

    Everything is held in memory, 8 bytes for each image and class; ``autofreeze predict`` writes rows as they
    come.

    Args:
        checkpoint: ``model.safetensors`` of a training, or its folder.
        images: Files, or folders, which are searched to any depth; also what ``data`` of a training may be.
        batch_size: Images in one forward pass, >= 1.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: Of torch on a CPU; None leaves its own choice.
        progress: Told how far it has come.

    Raises:
        BackboneError: The file holds no trained model.
        DataError: There are no images, or none that can be read.
        ConfigError: Something else that was given is wrong.
    """
    session = _Session.open(checkpoint, images, batch_size, device, threads)
    batches = list(session.batches(progress))
    problems = [problem for batch in batches for problem in batch.problems]
    names = session.images.names
    told = {name: problem for name, problem in zip(names, problems, strict=True) if problem}
    _check_some_read([f"{name}: {problem}" for name, problem in told.items()], len(names))
    probabilities = np.concatenate([batch.probabilities for batch in batches])
    return Predictions(names, session.trained.classes, probabilities, told)


def predict_to(
    out: Path | TextIO,
    checkpoint: str | Path,
    images: Paths,
    *,
    top: int | None = None,
    batch_size: int = BATCH,
    device: str = "auto",
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Predicted:
    """Predict images, and write each row as it comes; see :class:`PredictionTable` for the columns.

    Args:
        out: File, there when all of it is written and not before; or a stream.
        checkpoint: As for :func:`predict`; so are the other arguments.
        images: What to predict.
        top: Columns for so many classes, the most probable first, instead of one for each class.
        batch_size: Images in one forward pass.
        device: Where to compute.
        threads: Of torch on a CPU.
        force: Overwrite a file that is there.
        progress: Told how far it has come.

    Raises:
        BackboneError, DataError, ConfigError: As for :func:`predict`; no file has been written.
    """
    if isinstance(out, Path):
        _check_free(out, force)
    session = _Session.open(checkpoint, images, batch_size, device, threads)
    classes = session.trained.classes
    if top is not None and not 1 <= top <= len(classes):
        raise ConfigError(f"top: got {top}; the model knows {len(classes)} classes, so 1..{len(classes)}")
    with _opened(out) as stream:
        table = PredictionTable(stream, classes, top)
        for batch in session.batches(progress):
            table.write(batch.names, batch.probabilities, batch.problems)
        predicted = table.summary(len(session.images.passed_over))
        _check_some_read(predicted.problems, len(session.images))
    return predicted


@dataclass(frozen=True, eq=False)
class _Session:
    """A model and images, opened."""

    trained: TrainedModel
    model: nn.Module
    images: Unlabelled
    batch_size: int
    device: torch.device

    @classmethod
    def open(
        cls, checkpoint: str | Path, images: Paths, batch_size: int, device: str, threads: int | None
    ) -> "_Session":
        problems = [
            f"{name}: got {value}; must be at least 1"
            for name, value in (("batch_size", batch_size), ("threads", threads))
            if value is not None and value < 1
        ]
        if device not in get_args(DeviceName):
            problems.append(f"device: got {device!r}; must be {', '.join(get_args(DeviceName))}")
        if problems:
            raise ConfigError(problems)
        where = pick_device(device)
        if where.type == "cpu":
            keep_freed_memory()
        if threads:
            torch.set_num_threads(threads)
        trained = read_model(Path(checkpoint).expanduser())
        given = [images] if isinstance(images, str | os.PathLike) else images
        listed = list_unlabelled(given)
        model = trained.build().to(device=where, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(trained, model, listed, batch_size, where)

    def batches(self, progress: Progress | None) -> Iterator[Batch]:
        """Predict batch by batch; so many images are in memory, and those that are decoded ahead."""
        total = len(self.images)
        size = self.trained.preprocessing.image_size
        decode = image_decoder(self.trained.preprocessing)
        decoded = decode_in_order(self.images.open, range(total), decode)
        pixels = np.zeros((min(self.batch_size, total), size, size, 3), np.uint8)
        for start in range(0, total, self.batch_size):
            names = self.images.names[start : start + self.batch_size]
            problems = [
                _keep(image, pixels[place]) for place, image in zip(range(len(names)), decoded, strict=False)
            ]
            probabilities = self._probabilities(pixels[: len(names)])
            for place, row in enumerate(probabilities):
                if not problems[place] and not np.isfinite(row).all():
                    problems[place] = "the model gives no finite numbers for it"
            probabilities[[bool(problem) for problem in problems]] = np.nan
            yield Batch(names, probabilities, tuple(problems))
            if progress is not None:
                progress("predicting images", start + len(names), total)

    @torch.inference_mode()
    def _probabilities(self, pixels: Pixels) -> NDArray[np.float64]:
        """Give the probabilities of decoded images, uint8 (n, size, size, 3), as (n, classes)."""
        preprocessing = self.trained.preprocessing
        try:
            images = torch.from_numpy(pixels).to(self.device)
            with autocast(self.device):
                logits = self.model(to_pixels(images, None, preprocessing.mean, preprocessing.std))
        except (RuntimeError, MemoryError) as error:  # a GPU's is a RuntimeError, and so is torch's on a CPU
            if not (isinstance(error, torch.OutOfMemoryError) or lacks_memory(error)):
                raise
            size = preprocessing.image_size
            what = f"a batch of {len(pixels)} images" if len(pixels) > 1 else "an image"
            ways_out = "give a smaller --batch-size" if len(pixels) > 1 else "free some"
            raise AutofreezeError(
                f"{what} of {size:,} x {size:,} pixels does not fit the memory of {self.device}; {ways_out}"
            ) from None
        probabilities: NDArray[np.float64] = logits.float().cpu().double().softmax(dim=1).numpy()
        return probabilities


def _keep(image: Pixels | Unreadable, place: Pixels) -> str:
    """Put an image into its place in the batch; one that cannot be read is black, and its reason is given."""
    if isinstance(image, Unreadable):
        place[:] = 0
        return image.reason
    place[:] = image
    return ""


def _check_some_read(problems: Sequence[str], total: int) -> None:
    """Refuse images of which none can be read."""
    if len(problems) == total:
        raise DataError(first(problems), where=f"none of {counted(total, 'image')} can be read")


def _check_free(out: Path, force: bool) -> None:
    """Refuse to overwrite what is there."""
    if out.is_dir():
        raise ConfigError("is a folder; name a file", where=str(out))
    if out.is_file() and not force:
        raise ConfigError("exists already; --force overwrites it", where=str(out))


@contextmanager
def _opened(out: Path | TextIO) -> Iterator[TextIO]:
    """Open what is written to: a file comes into its place when the block has ended well.

    Raises:
        ConfigError: The file cannot be made.
        AutofreezeError: The disk takes no more; there is no file.
    """
    where = str(out) if isinstance(out, Path) else "standard output"
    try:
        if not isinstance(out, Path):
            yield out
            out.flush()
        elif out.exists() and not out.is_file():
            with out.open("w", **_AS_TEXT) as stream:  # a device or a pipe: nothing to be renamed
                yield stream
        else:
            with _whole(out) as stream:
                yield stream
    except BrokenPipeError:
        raise  # who reads has seen enough
    except OSError as error:
        raise AutofreezeError(f"cannot be written to ({error.strerror or error})", where=where) from None


@contextmanager
def _whole(out: Path) -> Iterator[TextIO]:
    """Open a neighbour of a file, renamed into place when the block has ended well."""
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(written_whole(out))
        except OSError as error:
            raise ConfigError(f"cannot be written: {error.strerror or error}", where=str(out)) from None
        words = TextIOWrapper(stream, **_AS_TEXT)
        yield words
        words.detach()
