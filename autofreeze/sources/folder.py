"""Folders of images: ``train/``, ``val/`` and ``test/`` with class folders, or class folders alone."""

import os
from dataclasses import dataclass
from pathlib import Path

from autofreeze.errors import DataError
from autofreeze.sources.listing import (
    PART_NAMES,
    PARTS,
    Files,
    Listing,
    Part,
    first,
    in_words,
    leads_out,
    path_key,
)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""What timm takes for an image, in any case. Its reader is not called: importing timm loads torch."""


def list_folder(path: str | os.PathLike[str]) -> Listing:
    """List a folder of images as timm's reader does.

    Raises:
        DataError: Missing, no folder, no images, images outside class folders, classes that do not agree,
            links that lead out of the folder.

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
    _check_links(root)
    folders = _part_folders(root)
    return _list_parts(root, folders) if folders else _list_classes(root)


def _check_links(root: Path) -> None:
    """Refuse links that lead out, before the folder is walked: links are followed, one to ``/`` as well."""
    problems: list[str] = []
    todo = [str(root)]
    while todo:
        folder = todo.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        problems += _link_problems(entry, root)
                    elif entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except OSError as error:
            problems.append(f"{os.path.relpath(folder, root)}: cannot be listed: {error.strerror or error}")
    if problems:
        raise DataError(first(sorted(problems)), where=str(root))


def _link_problems(entry: os.DirEntry[str], root: Path) -> list[str]:
    link, is_folder = Path(entry.path), entry.is_dir()
    if not is_folder and link.suffix.lower() not in IMAGE_SUFFIXES:
        return []
    real, name = Path(os.path.realpath(link)), os.path.relpath(link, root)
    if leads_out(real, root):
        return [f"{name}: is a link that leads out of the folder, to {real}; put a copy in its place"]
    if is_folder and not leads_out(link.parent, real):
        return [f"{name}: is a link to a folder that it lies in; remove it"]
    return []


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
    named = [folder for folder in _folders(root) if folder.name.lower() in PART_NAMES]
    others = [folder for folder in _folders(root) if folder.name.lower() not in PART_NAMES]
    if others and not any(_folders(folder) for folder in named):
        return {}
    parts: dict[Part, Path] = {}
    for folder in named:
        part = PART_NAMES[folder.name.lower()]
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
        (path_key(f"{folders[part].name}/{relative}"), name, part)
        for part, scan in scans.items()
        for name, relative in scan.found
    )
    paths = tuple(key[1] for key, _, _ in rows)
    return Listing(
        name=root.name,
        root=root,
        where=str(root),
        classes=classes,
        paths=paths,
        labels=tuple(classes.index(name) for _, name, _ in rows),
        parts=tuple(part for _, _, part in rows),
        images=Files(root, paths),
        layout=f"{in_words([f'{folders[part].name}/' for part in scans])}, one folder per class",
    )


def _list_classes(root: Path) -> Listing:
    scan = _scan(root)
    problems = _scan_problems(scan, prefix="", empty_counts=True)
    if problems:
        raise DataError(problems, where=str(root))
    rows = sorted((path_key(relative), name) for name, relative in scan.found)
    paths = tuple(key[1] for key, _ in rows)
    return Listing(
        name=root.name,
        root=root,
        where=str(root),
        classes=scan.classes,
        paths=paths,
        labels=tuple(scan.classes.index(name) for _, name in rows),
        parts=(None,) * len(rows),
        images=Files(root, paths),
        layout="one folder per class, test part held out",
    )


def _scan(folder: Path) -> _Scan:
    relative = [
        Path(top, name).relative_to(folder)
        for top, _, names in os.walk(folder, followlinks=True)
        for name in names
        if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - as timm does: ".png" has none
    ]
    shown = [path for path in relative if not any(_hidden(part) for part in path.parts)]
    found = tuple((path.parts[0], path.as_posix()) for path in shown if len(path.parts) == 2)
    names = {path.parts[0] for path in shown if len(path.parts) > 1}
    return _Scan(
        found=found,
        classes=tuple(sorted({name for name, _ in found}, key=path_key)),
        loose=tuple(sorted(path.as_posix() for path in shown if len(path.parts) == 1)),
        deep=tuple(sorted(path.as_posix() for path in shown if len(path.parts) > 2)),
        empty=tuple(child.name for child in _folders(folder) if child.name not in names),
    )


def _scan_problems(scan: _Scan, *, prefix: str, empty_counts: bool) -> list[str]:
    if not (scan.found or scan.loose or scan.deep):
        return [f"{prefix or 'folder'}: no images; looked for {', '.join(IMAGE_SUFFIXES)}"]
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
            f"{prefix}{name}: no images in this folder ({', '.join(IMAGE_SUFFIXES)}); "
            "add some, or remove the folder"
            for name in scan.empty
        ]
    return problems


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not _hidden(child.name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
