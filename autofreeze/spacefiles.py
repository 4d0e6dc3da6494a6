"""Space files for people: the shipped ones by name, their headlines, copies, and a check with lines."""

from collections.abc import Sequence
from pathlib import Path

from autofreeze.documents import Document, read_yaml, write_text
from autofreeze.errors import ConfigError
from autofreeze.space import Space, SpaceSpec, shipped_spaces
from autofreeze.values import did_you_mean


def headline(path: Path) -> str:
    """Give the first sentence of a file's header comment: for whom the space is."""
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or not line.strip("# "):
            break
        words.append(line.removeprefix("#").strip())
    text = " ".join(words)
    return text[: text.index(". ") + 1] if ". " in text else text


def check_space(
    name_or_path: str | Path, groups: Sequence[str] | None = None, epochs: float | None = None
) -> tuple[SpaceSpec, Space | None]:
    """Read a space and, when columns and a length are given, fit it to them.

    Args:
        name_or_path: Name of a shipped space, or a YAML file.
        groups: Columns of a model, stem first, head last.
        epochs: Length of a run, > 0.

    Returns:
        The space as written, and as fitted.

    Raises:
        ConfigError: What is wrong, all at once, with lines.
    """
    spec = SpaceSpec.load(name_or_path)
    if groups is None or epochs is None:
        return spec, None
    try:
        return spec, spec.resolve(groups, epochs)
    except ConfigError as error:
        document = read_yaml(shipped_spaces().get(str(name_or_path), Path(name_or_path)))
        raise ConfigError(_with_lines(error.problems, document), where=str(name_or_path)) from None


def _with_lines(problems: Sequence[str], document: Document) -> list[str]:
    """Put the line of its axis before each problem, and the problems in the file's order."""
    found = [(document.lines.get((problem.partition(":")[0],), 0), problem) for problem in problems]
    return [f"line {line}: {problem}" if line else problem for line, problem in sorted(found)]


def copy_space(name: str, target: Path, *, force: bool = False) -> None:
    """Copy a shipped space, comments and all, to a file of one's own.

    Raises:
        ConfigError: There is no such space, or the file exists or has a name that is not read as YAML.
    """
    shipped = shipped_spaces()
    problems = []
    if name not in shipped:
        problems.append(f"no search space is called {name!r}{did_you_mean(name, list(shipped))}")
    if target.suffix not in (".yaml", ".yml"):
        problems.append(f"{target}: must end in .yaml or .yml, so that --space reads it as a file")
    if target.is_dir():
        problems.append(f"{target} is a folder; give a file")
    elif target.exists() and not force:
        problems.append(f"{target} exists already; --force overwrites it")
    if problems:
        raise ConfigError(problems)
    write_text(target, shipped[name].read_text(encoding="utf-8"))
