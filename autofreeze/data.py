"""Images, their classes and their parts: what a source says of them, and a fingerprint of it.

A source (``autofreeze.sources``) only lists. Everything after that — hashing, holding out a test part,
checks, numbering — is the same for every source.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from autofreeze.errors import ConfigError, DataError
from autofreeze.faults import is_want, told
from autofreeze.sources import list_source
from autofreeze.sources.listing import PARTS, Files, Images, Listing, Part, first
from autofreeze.splits import Indices, hold_out

__all__ = ["PARTS", "Dataset", "Indices", "Part", "Progress", "first", "open_dataset"]

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)`` from the calling thread."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Numbered images with their classes and parts. The arrays are read-only."""

    root: Path
    """Where the images lie; for images that are not files, the name that was given."""

    where: str
    """What to call the source in messages."""

    name: str
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    """What each image is called: relative to ``root``, with forward slashes; the image id is the index."""

    labels: Indices
    """(n,), an index into ``classes``."""

    train: Indices
    """Image ids, ascending; so are ``val`` and ``test``."""

    val: Indices
    """Empty unless the user made one and did not ask to split again."""

    test: Indices
    """Empty where there is a training part and no test part."""

    content: tuple[str, ...]
    """BLAKE2b of each image as it is encoded, 32 hexadecimal digits."""

    images: Images
    """Where the images are read from."""

    layout: str
    """For people."""

    subjects: Indices | None = None
    """(n,), whose image it is (patient, scene), an index into ``subject_names``; None: it is not said."""

    subject_names: tuple[str, ...] = ()

    fingerprint: str = field(init=False)
    """Hash of contents, labels, parts, subjects and class names, 16 hexadecimal digits, wherever they lie."""

    def __post_init__(self) -> None:
        for array in (self.labels, self.train, self.val, self.test, self.subjects):
            if array is not None:
                array.flags.writeable = False
        object.__setattr__(self, "fingerprint", _fingerprint(self))

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, image: int) -> Path:
        """Give where an image lies now.

        Raises:
            DataError: It is not a file.
        """
        if not isinstance(self.images, Files):
            raise DataError(f"image {image} is not a file; open it with open_image", where=self.where)
        return self.root / self.paths[image]

    def open_image(self, image: int) -> Image.Image:
        """Open an image, not decoded yet; use it as a context manager. Threads may call it at once.

        Raises:
            DataError: It is no longer what was hashed: stores of this content must not hold it.
            Exception: What Pillow raises for broken images; most are OSError.
        """
        return self.images.open(image, self.content[image])

    def part(self, part: Part) -> Indices:
        """Give the image ids of a part."""
        return {"train": self.train, "val": self.val, "test": self.test}[part]

    def without(self, images: Sequence[int]) -> "Dataset":
        """Give the data set with some images in no part: the numbering stays, the fingerprint does not.

        Raises:
            DataError: Too few images of a class are left.
        """
        gone = np.asarray(images, dtype=np.int64)
        train, val, test = (np.setdiff1d(self.part(part), gone) for part in PARTS)
        less = replace(self, train=train, val=val, test=test)
        _check_classes(less)
        return less

    @cached_property
    def counts(self) -> dict[Part, tuple[int, ...]]:
        """Images of each class, in the order of ``classes``, by part."""
        return {
            part: tuple(np.bincount(self.labels[self.part(part)], minlength=len(self.classes)).tolist())
            for part in PARTS
        }

    @cached_property
    def leaked(self) -> Indices:
        """Ids of validation and test images whose very bytes are in the training part as well."""
        seen = {self.content[image] for image in self.train}
        held = np.concatenate([self.val, self.test])
        return held[[self.content[image] in seen for image in held]] if len(held) else held

    @cached_property
    def straddling(self) -> Indices:
        """Subjects with images in more than one part, ascending."""
        if self.subjects is None:
            return np.array([], dtype=np.int64)
        present = np.concatenate([np.unique(self.subjects[self.part(part)]) for part in PARTS])
        found, parts = np.unique(present, return_counts=True)
        return found[parts > 1]


def open_dataset(
    data: str | os.PathLike[str],
    *,
    seed: int = 0,
    test_share: float = 0.2,
    resplit: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Read a source of images: its classes, its parts, and a hash of every image.

    Where the source names a training part, its parts are taken as they are. Otherwise ``test_share`` is held
    out as the test part. Nothing is decoded that has an encoded form.

    The held-out test part follows from the seed and the images' contents alone, not from their names, order
    or place; byte-equal images of a class never lie on both sides, nor do images of one subject.

    Args:
        data: A folder, a CSV file, or a data set that timm reads; see ``autofreeze.sources.list_source``.
        seed: For the held-out test part.
        test_share: Share of every class held out as test, 0 <= share < 1. Unused where the source has parts.
        resplit: Pool a user's own validation part with the training part, to be split again.
        progress: Called while images are hashed.

    Raises:
        DataError: The source cannot be used; every finding is told.
        ConfigError: ``test_share`` is out of range.
    """
    if not 0 <= test_share < 1:
        raise ConfigError(f"test_share: got {test_share}; must be at least 0 and less than 1")
    listing = list_source(data)
    content = hash_images(listing, progress=progress)
    labels = np.asarray(listing.labels, dtype=np.int64)
    names, subjects = _number_subjects(listing.subjects)
    parts = np.asarray([part or "" for part in listing.parts])
    if None in listing.parts:
        try:
            held = hold_out(labels, content, seed=seed, share=test_share, subjects=subjects)
        except DataError as error:
            raise DataError(error.problems, where=listing.where) from None
        parts = np.where(held, "test", "train")
    if resplit:
        parts[parts == "val"] = "train"
    dataset = Dataset(
        root=listing.root,
        where=listing.where,
        name=listing.name,
        classes=listing.classes,
        paths=listing.paths,
        labels=labels,
        train=np.flatnonzero(parts == "train"),
        val=np.flatnonzero(parts == "val"),
        test=np.flatnonzero(parts == "test"),
        content=content,
        images=listing.images,
        layout=listing.layout,
        subjects=subjects,
        subject_names=names,
    )
    _check_classes(dataset)
    return dataset


def hash_images(listing: Listing, *, progress: Progress | None = None) -> tuple[str, ...]:
    """Hash all images in a thread pool: BLAKE2b of 16 bytes, as hexadecimal digits, by image id.

    Raises:
        DataError: Images cannot be read; they are named.
        AutofreezeError: The process has no handles left, or no memory for a call.
    """

    def attempt(image: int) -> tuple[str, str]:
        try:
            return listing.images.digest(image), ""
        except OSError as error:
            if is_want(error):
                raise told(error) from None
            return "", f"{listing.paths[image]}: {error.strerror or error}"

    digests: list[str] = []
    problems: list[str] = []
    total = len(listing.paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (digest, problem) in enumerate(pool.map(attempt, range(total)), start=1):
            digests.append(digest)
            if problem:
                problems.append(problem)
            if progress is not None:
                progress(done, total)
    if problems:
        raise DataError(
            [*first(problems), "make them readable, or remove them"],
            where=f"{len(problems):,} of {total:,} images in {listing.where} cannot be read",
        )
    return tuple(digests)


def _fingerprint(dataset: Dataset) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for text in (*dataset.classes, *dataset.content):
        raw = text.encode("utf-8", "surrogateescape")
        digest.update(len(raw).to_bytes(8, "little") + raw)
    for array in (dataset.labels, dataset.train, dataset.val, dataset.test, dataset.subjects):
        if array is not None:
            digest.update(len(array).to_bytes(8, "little") + array.astype("<i8").tobytes())
    return digest.hexdigest()


def _number_subjects(named: Sequence[str] | None) -> tuple[tuple[str, ...], Indices | None]:
    """Give each subject a number, as they come: nothing that follows depends on what they are called."""
    if named is None:
        return (), None
    numbers: dict[str, int] = {}
    for name in named:
        numbers.setdefault(name, len(numbers))
    return tuple(numbers), np.asarray([numbers[name] for name in named], dtype=np.int64)


def _check_classes(dataset: Dataset) -> None:
    """Refuse what no training can use; a class that only the other parts lack is for ``check`` to tell."""
    problems = []
    if len(dataset.classes) < 2:
        problems.append(f"only one class ({dataset.classes[0]}); training needs at least two")
    train = dataset.labels[dataset.train]
    held = Counter(train.tolist())
    problems += [
        f"class {name}: {held[label]} training image{'' if held[label] == 1 else 's'}; at least 2 are "
        "needed, one to train on and one to validate with; add images, or remove the class"
        for label, name in enumerate(dataset.classes)
        if held[label] < 2
    ]
    if dataset.subjects is not None and not len(dataset.val):
        owners = dataset.subjects[dataset.train]
        problems += [
            f"class {name}: its {held[label]} training images are all of one subject "
            f"({dataset.subject_names[owners[train == label][0]]}); at least 2 subjects are needed, one to "
            "train on and one to validate with; add images of others, name a validation part, or leave the "
            "subjects out"
            for label, name in enumerate(dataset.classes)
            if held[label] >= 2 and len(np.unique(owners[train == label])) < 2
        ]
    if problems:
        raise DataError(first(problems), where=dataset.where)
