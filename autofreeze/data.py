"""Images, their classes and their parts: what a folder of images says, and a fingerprint of it.

A source (here: folders) only lists: :class:`Listing`. Everything after that — hashing, holding out a test
part, checks, numbering — is the same for every source.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from timm.data.readers import img_extensions
from timm.data.readers.reader_image_folder import find_images_and_targets

from autofreeze.errors import ConfigError, DataError

Part = Literal["train", "val", "test"]
Indices = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)`` from the calling thread."""

PARTS: tuple[Part, ...] = ("train", "val", "test")
FOLDER_NAMES: dict[str, Part] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""Folder names that mean a part, in lower case; any case is accepted."""

_DIGEST_BYTES = 16
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source says before any image is read."""

    root: Path
    classes: tuple[str, ...]
    """In the order of their numbers, which is timm's."""

    paths: tuple[str, ...]
    """Relative to ``root``, with forward slashes; a file's place here is its image id."""

    labels: tuple[int, ...]
    parts: tuple[Part | None, ...]
    """``None`` where the source does not say; then a test part is held out."""

    layout: str
    """For people."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Numbered images with their classes and parts. The arrays are read-only."""

    root: Path
    name: str
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    """Relative to ``root``, with forward slashes; the image id is the index."""

    labels: Indices
    """(n,), an index into ``classes``."""

    train: Indices
    """Image ids, ascending; so are ``val`` and ``test``."""

    val: Indices
    """Empty unless the user made one and did not ask to split again."""

    test: Indices
    """Empty where there is a training folder and no test folder."""

    content: tuple[str, ...]
    """BLAKE2b of each file, 32 hexadecimal digits."""

    layout: str
    """For people."""

    fingerprint: str = field(init=False)
    """Hash of contents, labels, parts and class names, 16 hexadecimal digits, wherever the folder lies."""

    def __post_init__(self) -> None:
        for array in (self.labels, self.train, self.val, self.test):
            array.flags.writeable = False
        object.__setattr__(self, "fingerprint", _fingerprint(self))

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, image: int) -> Path:
        """Give where an image lies now."""
        return self.root / self.paths[image]

    def part(self, part: Part) -> Indices:
        """Give the image ids of a part."""
        return {"train": self.train, "val": self.val, "test": self.test}[part]

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


def open_dataset(
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    test_share: float = 0.2,
    resplit: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Read a folder of images: its classes, its parts, and a hash of every file.

    Two layouts: ``train/`` with ``val/`` (or ``valid/``, ``validation/``) and ``test/`` where there are any,
    each with one folder per class; or one folder per class and nothing else, of which ``test_share`` is
    held out as the test part. Hidden files and ``__MACOSX`` are passed over. Nothing is decoded.

    The held-out test part follows from the seed and the images' contents alone, not from their names, order
    or place; byte-equal images of a class never lie on both sides.

    Args:
        path: The folder.
        seed: For the held-out test part.
        test_share: Share of every class held out as test, 0 <= share < 1. Unused where there is ``train/``.
        resplit: Pool a user's own validation part with the training part, to be split again.
        progress: Called while files are hashed.

    Raises:
        DataError: The folder cannot be used; every finding is told.
        ConfigError: ``test_share`` is out of range.
    """
    if not 0 <= test_share < 1:
        raise ConfigError(f"test_share: got {test_share}; must be at least 0 and less than 1")
    listing = list_folder(path)
    content = hash_files([listing.root / relative for relative in listing.paths], progress=progress)
    labels = np.asarray(listing.labels, dtype=np.int64)
    parts = listing.parts
    if None in parts:
        parts = _hold_out(labels, content, seed=seed, share=test_share)
    if resplit:
        parts = tuple("train" if part == "val" else part for part in parts)
    _check_classes(listing, parts)
    return Dataset(
        root=listing.root,
        name=listing.root.name,
        classes=listing.classes,
        paths=listing.paths,
        labels=labels,
        train=_ids(parts, "train"),
        val=_ids(parts, "val"),
        test=_ids(parts, "test"),
        content=content,
        layout=listing.layout,
    )


def list_folder(path: str | os.PathLike[str]) -> Listing:
    """List a folder of images through timm's reader.

    Raises:
        DataError: Missing, no folder, no images, images outside class folders, classes that do not agree.

    Source:
        Which files are images, and the order of the classes: timm 1.0,
        ``timm/data/readers/reader_image_folder.py``.
    """
    given = Path(path).expanduser()
    if not given.exists():
        raise DataError("no such folder; check the path", where=str(path))
    if not given.is_dir():
        raise DataError(
            "is a file; give the folder that holds train/, or one folder of images per class", where=str(path)
        )
    root = given.resolve()
    folders = _part_folders(root)
    return _list_parts(root, folders) if folders else _list_classes(root)


def hash_files(paths: Sequence[Path], *, progress: Progress | None = None) -> tuple[str, ...]:
    """Hash files in a thread pool: BLAKE2b of 16 bytes, as hexadecimal digits, in the order given.

    Raises:
        DataError: Files cannot be read; they are named.
    """
    digests: list[str] = []
    problems: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (digest, problem) in enumerate(pool.map(_hash_file, paths), start=1):
            digests.append(digest)
            if problem:
                problems.append(problem)
            if progress is not None:
                progress(done, len(paths))
    if problems:
        raise DataError(
            [*first(problems), "make them readable, or remove them"],
            where=f"{len(problems)} of {len(paths)} files cannot be read",
        )
    return tuple(digests)


def first(problems: Sequence[str]) -> list[str]:
    """Give the first ten problems, and how many more there are."""
    more = len(problems) - _MOST_NAMED
    return [*problems[:_MOST_NAMED], *([f"and {more:,} more"] if more > 0 else [])]


def _hash_file(path: Path) -> tuple[str, str]:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=_DIGEST_BYTES).hexdigest(), ""
    except OSError as error:
        return "", f"{path}: {error.strerror or error}"


def _fingerprint(dataset: Dataset) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for text in (*dataset.classes, *dataset.content):
        raw = text.encode("utf-8", "surrogateescape")
        digest.update(len(raw).to_bytes(8, "little") + raw)
    for array in (dataset.labels, dataset.train, dataset.val, dataset.test):
        digest.update(len(array).to_bytes(8, "little") + array.astype("<i8").tobytes())
    return digest.hexdigest()


# Folders


@dataclass(frozen=True, slots=True)
class _Scan:
    """The images under one folder that holds class folders."""

    found: tuple[tuple[str, str], ...]
    """(class, path relative to the folder)."""

    classes: tuple[str, ...]
    """In timm's order."""

    loose: tuple[str, ...]
    """Images outside any class folder."""

    deep: tuple[str, ...]
    """Images further down than a class folder."""

    empty: tuple[str, ...]
    """Folders without images."""


def _part_folders(root: Path) -> dict[Part, Path]:
    """Find the folders that are parts; none means plain class folders.

    A folder called ``train`` that holds images and lies beside other folders of images is a class.
    """
    named = [folder for folder in _folders(root) if folder.name.lower() in FOLDER_NAMES]
    others = [folder for folder in _folders(root) if folder.name.lower() not in FOLDER_NAMES]
    if others and not any(_folders(folder) for folder in named):
        return {}
    parts: dict[Part, Path] = {}
    for folder in named:
        part = FOLDER_NAMES[folder.name.lower()]
        if part in parts:
            raise DataError(
                f"has both {parts[part].name}/ and {folder.name}/; keep one, or merge them", where=str(root)
            )
        parts[part] = folder
    if parts and "train" not in parts:
        raise DataError(
            f"has {' and '.join(f'{folder.name}/' for folder in parts.values())} but no train/; add train/, "
            "or give a folder with one folder per class, of which a test part is held out",
            where=str(root),
        )
    return parts


def _list_parts(root: Path, folders: dict[Part, Path]) -> Listing:
    scans = {part: _scan(folders[part]) for part in PARTS if part in folders}
    classes = scans["train"].classes
    problems = []
    for part, scan in scans.items():
        problems += _scan_problems(scan, prefix=f"{folders[part].name}/", empty_counts=part == "train")
        problems += [
            f"{folders[part].name}/{name}: no such class in {folders['train'].name}/; "
            "rename the folder, or add training images of the class"
            for name in scan.classes
            if name not in classes and classes
        ]
    if problems:
        raise DataError(problems, where=str(root))
    rows = sorted(
        (_path_key(f"{folders[part].name}/{relative}"), name, part)
        for part, scan in scans.items()
        for name, relative in scan.found
    )
    return Listing(
        root=root,
        classes=classes,
        paths=tuple(key[1] for key, _, _ in rows),
        labels=tuple(classes.index(name) for _, name, _ in rows),
        parts=tuple(part for _, _, part in rows),
        layout=f"{_in_words([f'{folders[part].name}/' for part in scans])}, one folder per class",
    )


def _list_classes(root: Path) -> Listing:
    scan = _scan(root)
    problems = _scan_problems(scan, prefix="", empty_counts=True)
    if problems:
        raise DataError(problems, where=str(root))
    rows = sorted((_path_key(relative), name) for name, relative in scan.found)
    return Listing(
        root=root,
        classes=scan.classes,
        paths=tuple(key[1] for key, _ in rows),
        labels=tuple(scan.classes.index(name) for _, name in rows),
        parts=(None,) * len(rows),
        layout="one folder per class, test part held out",
    )


def _scan(folder: Path) -> _Scan:
    # sort=False: timm orders by name without case and with numbers as numbers, so that "1.png" and "01.png"
    # keep the order of the file system; image ids must not depend on it.
    samples, _ = find_images_and_targets(str(folder), sort=False)
    relative = [Path(name).relative_to(folder) for name, _ in samples]
    shown = [path for path in relative if not any(_hidden(part) for part in path.parts)]
    found = tuple((path.parts[0], path.as_posix()) for path in shown if len(path.parts) == 2)
    names = {path.parts[0] for path in shown if len(path.parts) > 1}
    return _Scan(
        found=found,
        classes=tuple(sorted({name for name, _ in found}, key=lambda name: _path_key(name))),
        loose=tuple(sorted(path.as_posix() for path in shown if len(path.parts) == 1)),
        deep=tuple(sorted(path.as_posix() for path in shown if len(path.parts) > 2)),
        empty=tuple(child.name for child in _folders(folder) if child.name not in names),
    )


def _scan_problems(scan: _Scan, *, prefix: str, empty_counts: bool) -> list[str]:
    if not (scan.found or scan.loose or scan.deep):
        return [f"{prefix or 'folder'}: no images; looked for {', '.join(img_extensions.IMG_EXTENSIONS)}"]
    problems = []
    if scan.loose:
        problems.append(
            f"{prefix}{scan.loose[0]}: {len(scan.loose):,} images lie outside class folders; "
            "move each into a folder named after its class"
        )
    if scan.deep:
        problems.append(
            f"{prefix}{scan.deep[0]}: {len(scan.deep):,} images lie deeper than their class folder; "
            "move them up, right into the folder of their class"
        )
    if empty_counts:
        problems += [
            f"{prefix}{name}: no images in this folder ({', '.join(img_extensions.IMG_EXTENSIONS)}); "
            "add some, or remove the folder"
            for name in scan.empty
        ]
    return problems


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not _hidden(child.name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _path_key(path: str) -> tuple[list[str | int], str]:
    """Order as timm does (``natural_key``), and by the exact name where timm sees a tie."""
    pieces = re.split(r"(\d+)", path.lower())
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)], path


def _in_words(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# Parts


def _hold_out(labels: Indices, content: Sequence[str], *, seed: int, share: float) -> tuple[Part, ...]:
    """Hold out a share of each class as test; at least one image where the class has three or more."""
    ranks = [_rank(seed, digest) for digest in content]
    parts: list[Part] = ["train"] * len(labels)
    for label in range(int(labels.max()) + 1):
        ids = sorted(np.flatnonzero(labels == label).tolist(), key=lambda image: (ranks[image], image))
        for image in ids[: _test_count(ids, ranks, share)]:
            parts[image] = "test"
    return tuple(parts)


def _test_count(ids: Sequence[int], ranks: Sequence[bytes], share: float) -> int:
    if share == 0:
        return 0
    count = max(0, min(max(1, round(share * len(ids))), len(ids) - 2))
    while count and ranks[ids[count - 1]] == ranks[ids[count]]:
        count -= 1  # byte-equal images stay on one side
    return count


def _rank(seed: int, digest: str) -> bytes:
    return hashlib.blake2b(f"{seed} {digest}".encode(), digest_size=_DIGEST_BYTES).digest()


def _check_classes(listing: Listing, parts: Sequence[Part | None]) -> None:
    problems = []
    if len(listing.classes) < 2:
        problems.append(
            f"only one class ({listing.classes[0]}); training needs at least two, a folder for each"
        )
    held = Counter(label for label, part in zip(listing.labels, parts, strict=True) if part == "train")
    problems += [
        f"class {name}: {held[label]} training image; at least 2 are needed, one to train on and one to "
        "validate with; add images, or remove the class"
        for label, name in enumerate(listing.classes)
        if held[label] < 2
    ]
    if problems:
        raise DataError(problems, where=str(listing.root))


def _ids(parts: Sequence[Part | None], wanted: Part) -> Indices:
    return np.flatnonzero(np.asarray([part == wanted for part in parts])).astype(np.int64)
