"""Data sets that timm's readers know by name: ``hfds/NAME`` (Hugging Face) and ``torch/NAME`` (torchvision).

Readers that stream their images are refused: a search reads every image many times, in any order.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from timm.data.dataset_factory import create_dataset
from timm.data.readers.reader_factory import create_reader
from torch.hub import get_dir

from autofreeze.errors import DataError
from autofreeze.imagefile import open_image
from autofreeze.quiet import quiet
from autofreeze.sources.listing import (
    DIGEST_BYTES,
    PART_NAMES,
    PARTS,
    Files,
    Images,
    Listing,
    Part,
    digest_of_bytes,
    in_words,
    path_key,
)
from autofreeze.values import did_you_mean

STREAMED = ("hfids", "tfds", "wds")
"""timm's prefixes whose readers give images in one order, once."""

TORCH_SPLITS: dict[str, tuple[Part, ...]] = {
    "cifar10": ("train", "test"),
    "cifar100": ("train", "test"),
    "mnist": ("train", "test"),
    "kmnist": ("train", "test"),
    "fashion_mnist": ("train", "test"),
    "qmnist": ("train", "test"),
    "imagenet": ("train", "val"),
    "inaturalist": ("train", "val"),
    "places365": ("train", "val"),
    "image_folder": (),
}
"""torchvision's data sets by timm's names, with the parts they have; ``image_folder`` has what is there."""


def list_reader(name: str) -> Listing:
    """List a data set through timm's reader; it is downloaded where it is not here yet.

    ``hfds/NAME`` takes ``NAME`` from the Hugging Face hub or, where ``NAME`` is a folder, from there. Its
    splits named as parts are used. ``torch/NAME`` takes torchvision's data set from ``torch/NAME@FOLDER``, by
    default ``datasets`` in torch's cache folder (``TORCH_HOME``). A data set of one split is held out from.

    Raises:
        DataError: The data set cannot be had, streams its images, or has no labels that are classes.

    Source:
        Which names there are: timm 1.0, ``timm/data/dataset_factory.py``.
    """
    prefix, _, rest = name.partition("/")
    if prefix in STREAMED:
        raise DataError(
            f"{prefix}/ streams its images, and a search reads them many times, in any order; give "
            "hfds/NAME, torch/NAME, a folder or a CSV file",
            where=name,
        )
    if not rest:
        raise DataError(f"names no data set; give {prefix}/NAME", where=name)
    return _list_hfds(name, rest) if prefix == "hfds" else _list_torch(name, rest)


@dataclass(frozen=True, slots=True)
class _Split:
    """One split of a data set that a reader knows."""

    name: str
    labels: Sequence[str | None]
    """The class of each image by name; None where the source does not say."""

    classes: Sequence[str]
    """The source's order of classes."""

    paths: Sequence[str]
    images: Images


def _join(
    name: str, title: str, root: Path, splits: Sequence[tuple[Part | None, _Split]], note: str
) -> Listing:
    """Put the splits behind each other. Classes that no image has are left out of the numbers."""
    unlabelled = [split.name for part, split in splits if part != "train" and not any(split.labels)]
    splits = [(part, split) for part, split in splits if split.name not in unlabelled]
    bare = [split for _, split in splits if None in split.labels]
    if bare or not splits:
        raise DataError(
            [f"{split.name}: {split.labels.count(None):,} images have no label" for split in bare]
            or "no image has a label",
            where=name,
        )
    labels = [label for _, split in splits for label in split.labels if label is not None]
    present = set(labels)
    classes = tuple(
        dict.fromkeys(label for _, split in splits for label in split.classes if label in present)
    )
    numbers = {label: number for number, label in enumerate(classes)}
    if unlabelled:
        note += f"; {in_words(unlabelled)} without labels, passed over"
    return Listing(
        name=title,
        root=root,
        where=name,
        classes=classes,
        paths=tuple(path for _, split in splits for path in split.paths),
        labels=tuple(numbers[label] for label in labels),
        parts=tuple(part for part, split in splits for _ in split.paths),
        images=_Series.of([split.images for _, split in splits], [len(split.paths) for _, split in splits]),
        layout=note,
    )


@dataclass(frozen=True, slots=True)
class _Series:
    """Images of several splits, numbered one after another."""

    series: tuple[Images, ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, series: Sequence[Images], sizes: Sequence[int]) -> "_Series":
        return cls(tuple(series), tuple(sum(sizes[:place]) for place in range(len(sizes))))

    def open(self, image: int, digest: str = "") -> Image.Image:
        place = bisect_right(self.starts, image) - 1
        return self.series[place].open(image - self.starts[place], digest)

    def digest(self, image: int) -> str:
        place = bisect_right(self.starts, image) - 1
        return self.series[place].digest(image - self.starts[place])


# Hugging Face


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Images that a reader of timm gives as they are encoded."""

    reader: Any

    def open(self, image: int, digest: str = "") -> Image.Image:  # noqa: ARG002 - the hub's files stay
        return open_image(BytesIO(self._read(image)))

    def digest(self, image: int) -> str:
        return digest_of_bytes(self._read(image))

    def _read(self, image: int) -> bytes:
        try:
            file, _ = self.reader[image]
        except (AssertionError, TypeError) as error:  # what timm's reader makes of an empty cell
            raise OSError("holds no image") from error
        with file:
            raw: bytes = file.read()
        return raw


def _list_hfds(name: str, rest: str) -> Listing:
    if find_spec("datasets") is None:
        raise DataError("needs the package datasets: pip install 'autofreeze[hf]'", where=name)
    hub: Any = import_module("datasets")
    local = Path(rest).expanduser()
    place = str(local.resolve()) if local.exists() else rest
    way_out = "or give its files as a local folder: hfds/FOLDER"
    with _told(name, way_out, hub.exceptions.DatasetsError), quiet("huggingface_hub"):
        found = hub.load_dataset(place)
        wanted, passed = _parts_of(list(found), name)
        features = next(iter(found.values())).features
        image_key, label_key = _keys(features, name)
        keys = {"input_key": image_key, "target_key": label_key}
        readers = [
            (part, split, create_reader(f"hfds/{place}", split=split, **keys)) for part, split in wanted
        ]
    names = getattr(features[label_key], "names", None)
    splits = [(part, _hfds_split(split, reader, label_key, names)) for part, split, reader in readers]
    return _join(name, Path(rest).name, Path(name), splits, _note("Hugging Face", wanted, passed))


def _hfds_split(split: str, reader: Any, key: str, names: Sequence[str] | None) -> _Split:
    values = list(reader.dataset[key])
    if names is not None:
        labels = [None if value is None or value < 0 else names[value] for value in values]
    else:
        labels = [None if value is None or value == "" else str(value) for value in values]
    return _Split(
        name=split,
        labels=labels,
        classes=names if names is not None else sorted({label for label in labels if label}, key=path_key),
        paths=[f"{split}/{number}" for number in range(len(labels))],
        images=_Encoded(reader),
    )


def _parts_of(splits: Sequence[str], name: str) -> tuple[list[tuple[Part | None, str]], list[str]]:
    """Give the splits that are parts, in the order of parts, and those that are not."""
    if len(splits) == 1:
        return [(None, splits[0])], []
    by_part: dict[Part, str] = {}
    passed = []
    for split in splits:
        part = PART_NAMES.get(split.lower())
        if part is None or part in by_part:
            passed.append(split)
        else:
            by_part[part] = split
    if "train" not in by_part:
        raise DataError(f"has no split train; has {in_words(splits)}", where=name)
    return [(part, by_part[part]) for part in PARTS if part in by_part], passed


def _keys(features: Any, name: str) -> tuple[str, str]:
    """Find the columns of images and of classes: ``image`` and ``label``, or the only ones of their kind."""
    images = [key for key, feature in features.items() if type(feature).__name__ == "Image"]
    classes = [key for key, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    plain = [
        key for key, feature in features.items()
        if key == "label" and getattr(feature, "dtype", "") in ("string", "bool", "int32", "int64")
    ]  # fmt: skip
    problems, keys = [], []
    for kind, found, usual in (("images", images, "image"), ("classes", classes or plain, "label")):
        keys.append(usual if usual in found or not found else found[0])
        if usual not in found and len(found) != 1:
            have = f"{len(found)} columns of {kind} ({', '.join(found)})" if found else f"no column of {kind}"
            problems.append(
                f"{have}, and none is called {usual}; columns: {', '.join(features)}; save what you want "
                "as a folder, or name its images in a CSV file"
            )
    if problems:
        raise DataError(problems, where=name)
    return keys[0], keys[1]


# torchvision


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Images that a data set of torchvision keeps decoded, as arrays."""

    dataset: Any

    def open(self, image: int, digest: str = "") -> Image.Image:  # noqa: ARG002 - they are in memory
        opened: Image.Image = self.dataset[image][0]
        return opened

    def digest(self, image: int) -> str:
        pixels = self.open(image)
        digest = hashlib.blake2b(f"{pixels.mode} {pixels.size}".encode(), digest_size=DIGEST_BYTES)
        digest.update(pixels.tobytes())
        return digest.hexdigest()


def _list_torch(name: str, rest: str) -> Listing:
    known, _, folder = rest.partition("@")
    known = {"folder": "image_folder", "inat": "inaturalist"}.get(known.lower(), known.lower())
    if known not in TORCH_SPLITS:
        raise DataError(f"no such data set{did_you_mean(known, list(TORCH_SPLITS))}", where=name)
    root = Path(folder).expanduser() if folder else Path(get_dir()).parent / "datasets"
    wanted: list[tuple[Part | None, str]] = [(part, part) for part in TORCH_SPLITS[known]]
    passed: list[str] = []
    if known == "image_folder":
        if not folder or not root.is_dir():
            problem = f"no such folder: {root}" if folder else "give the folder: torch/image_folder@FOLDER"
            raise DataError(problem, where=name)
        root = root.resolve()
        wanted, passed = _parts_of([child.name for child in _part_children(root)] or ["train"], name)
    with _told(name, f"or give the folder that holds it: torch/{known}@FOLDER"):
        root.mkdir(parents=True, exist_ok=True)
        opened = [
            (part, split, create_dataset(f"torch/{known}", root=str(root), split=split, download=True))
            for part, split in wanted
        ]
    splits = [(part, _torch_split(split, dataset, root)) for part, split, dataset in opened]
    title = root.name if known == "image_folder" else known
    return _join(name, title, root, splits, _note("torchvision", wanted, passed))


def _part_children(root: Path) -> list[Path]:
    found = [child for child in root.iterdir() if child.is_dir() and child.name in PART_NAMES]
    return sorted(found) if any(child.name == "train" for child in found) else []


def _torch_split(split: str, dataset: Any, root: Path) -> _Split:
    names = [str(label) for label in _first_of(dataset, "wnids", "all_categories", "classes")]
    files = _files_of(dataset)
    paths = (
        [Path(file).relative_to(root).as_posix() for file in files]
        if files is not None
        else [f"{split}/{number}" for number in range(len(dataset))]
    )
    return _Split(
        name=split,
        labels=[names[number] for number in _numbers_of(dataset)],
        classes=names,
        paths=paths,
        images=_Pixels(dataset) if files is None else Files(root, tuple(paths)),
    )


def _first_of(dataset: Any, *names: str) -> Any:
    return next(getattr(dataset, name) for name in names if hasattr(dataset, name))


def _files_of(dataset: Any) -> list[str] | None:
    """Give where the images lie, for the data sets of torchvision that are files."""
    if hasattr(dataset, "index"):  # INaturalist
        return [str(Path(dataset.root, dataset.all_categories[place], file)) for place, file in dataset.index]
    samples = getattr(dataset, "samples", None) or getattr(dataset, "imgs", None)
    return None if samples is None else [str(file) for file, _ in samples]


def _numbers_of(dataset: Any) -> list[int]:
    if hasattr(dataset, "index"):
        return [place for place, _ in dataset.index]
    targets = dataset.targets.tolist() if hasattr(dataset.targets, "tolist") else dataset.targets
    return [target[0] if isinstance(target, list) else target for target in targets]  # QMNIST's are rows


# What is told


def _note(source: str, wanted: Sequence[tuple[Part | None, str]], passed: Sequence[str]) -> str:
    has = "test part held out" if wanted[0][0] is None else in_words([split for _, split in wanted])
    return f"{source} data set, {has}{f'; {in_words(passed)} passed over' if passed else ''}"


_EXPECTED = (OSError, RuntimeError, ValueError, LookupError, AssertionError)


@contextmanager
def _told(name: str, way_out: str, *kinds: type[Exception]) -> Iterator[None]:
    """Put what other libraries raise over a missing or odd data set into one line."""
    expected: tuple[type[Exception], ...] = (*_EXPECTED, *kinds)
    try:
        yield
    except expected as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(
            f"cannot be had: {reason}; where there is no network, fetch it elsewhere first, {way_out}",
            where=name,
        ) from error
