"""From a native file to the files of a target: exact, approximate when asked, or refused with the reason."""

import ast
from pathlib import Path

from autofreeze.documents import write_text
from autofreeze.errors import ConfigError
from autofreeze.export.exporter import ExportedFile, Exporter
from autofreeze.export.fidelity import Assessment, Fidelity
from autofreeze.export.native import FOUND_BY_OWN, NativeFile
from autofreeze.export.targets import EXPORTERS
from autofreeze.values import did_you_mean


def exporter_of(target: str) -> Exporter:
    """Find a target by its name.

    Raises:
        ConfigError: There is none of that name; the names are told.
    """
    names = [exporter.name for exporter in EXPORTERS]
    if target not in names:
        raise ConfigError(f"to: {target!r} is unknown{did_you_mean(target, names)}")
    return EXPORTERS[names.index(target)]


def assess(exporter: Exporter, file: NativeFile) -> Assessment:
    """Ask a target how truly it can express a file; most know no other models than timm's."""
    if file.task is None and not exporter.takes_own:
        return Assessment.refused(FOUND_BY_OWN)
    return exporter.assess(file)


def assessments(file: NativeFile) -> tuple[tuple[Exporter, Assessment], ...]:
    """Ask every target how truly it can express a file."""
    return tuple((exporter, assess(exporter, file)) for exporter in EXPORTERS)


def export_to(
    target: str, file: NativeFile, *, approximate: bool = False
) -> tuple[tuple[ExportedFile, ...], Assessment]:
    """Write a schedule down for a target.

    Args:
        target: One of the exporters' names.
        file: The schedule and what it holds for.
        approximate: Accept the nearest that the target knows, where it cannot express the schedule.

    Returns:
        The files, the one that was asked for first, and what differs.

    Raises:
        ConfigError: The target is unknown, or cannot express the schedule: all reasons are told.
    """
    exporter = exporter_of(target)
    assessment = assess(exporter, file)
    if assessment.fidelity is Fidelity.REFUSED:
        raise ConfigError(assessment.differences, where=f"{target} cannot express this schedule")
    if not assessment.is_exact and not approximate:
        raise ConfigError(
            [
                *assessment.differences,
                "--approximate writes the nearest and lists what differs; --list shows what each target can",
            ],
            where=f"{target} cannot express this schedule exactly",
        )
    return exporter.write(file), assessment


def write_files(output: Path, files: tuple[ExportedFile, ...], *, force: bool = False) -> tuple[Path, ...]:
    """Write the files of an export, each whole; the first, which names the others, comes last.

    Args:
        output: Where the first goes; the others go beside it.
        files: What to write.
        force: Overwrite what is there.

    Returns:
        Where they lie, in the order of ``files``.

    Raises:
        ConfigError: One of them exists already, or cannot be written.
    """
    paths = (output, *(output.with_name(output.stem + file.ending) for file in files[1:]))
    problems = [problem for path in paths if (problem := _obstacle(path, force=force))]
    twice = [path for path in paths[1:] if path == output]
    problems += [f"{path} would be written twice; choose another name" for path in twice]
    problems += [
        f"{path} would hide the package {path.stem}, which it needs, from Python; choose another name"
        for path, file in zip(paths, files, strict=True)
        if path.suffix == ".py" and path.stem in _imported(file.text)
    ]
    if problems:
        raise ConfigError(problems)
    for path, file in reversed([*zip(paths, files, strict=True)]):
        try:
            write_text(path, file.text)
        except OSError as error:
            raise ConfigError(f"cannot be written: {error.strerror}", where=str(path)) from None
    return paths


def _obstacle(path: Path, *, force: bool) -> str:
    if path.is_dir():
        return f"{path} is a folder; name a file"
    if path.exists() and not force:
        return f"{path} exists already; --force overwrites it"
    return ""


def _imported(source: str) -> set[str]:
    """Name the packages that a Python file imports."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name for node in nodes]
    return {name.partition(".")[0] for name in names}
