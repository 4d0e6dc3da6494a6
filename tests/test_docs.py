"""The documentation says what the code does: a page that goes stale fails here."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer
from pages import report_of

from autofreeze.axes import REGIME_AXES, SCHEDULE_AXES
from autofreeze.cli import app
from autofreeze.report.page.sections import sections
from autofreeze.space import SpaceSpec

ROOT = Path(__file__).parents[1]


def commands_of(group, prefix: str = "") -> dict:
    """Every command by the words that call it, those of sub-groups too: ``spaces list``."""
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands_of(command, f"{prefix}{name} ")
        else:
            found[prefix + name] = command
    return found


COMMANDS = commands_of(typer.main.get_command(app))
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def options_of(name: str) -> set[str]:
    """Every spelling of every option, and the arguments in capitals."""
    spellings = set()
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "argument":
            spellings.add(parameter.name.upper())
        else:
            spellings.update(opt for opt in (*parameter.opts, *parameter.secondary_opts) if opt != "--help")
    return spellings


def section_of(name: str) -> str:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line_page_names_exactly_the_options_that_a_command_has(name):
    rows = re.findall(r"^\| (.*?) \|", section_of(name), re.MULTILINE)
    named = {word for row in rows for word in re.findall(r"`([^`]+)`", row)}
    # The name of another command in a table stands for all that it takes.
    documented = {option for word in named for option in (options_of(word) if word in COMMANDS else [word])}
    assert documented == options_of(name)


def test_the_command_line_page_has_no_section_for_a_command_that_is_gone():
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## ([\w ]+)$", text, re.MULTILINE)) == set(COMMANDS)


def typed_commands() -> list[tuple[str, str]]:
    """Every line in a code block or in backticks that calls autofreeze with a command."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"(?:^\$? ?|`|&& )(autofreeze [a-z][^`\n]*)", text, re.MULTILINE):
            found.append((page.name, line))
    return found


@pytest.mark.parametrize(("page", "line"), typed_commands())
def test_every_command_on_a_page_exists_with_these_options(page, line):
    words = shlex.split(line.split("#")[0].split("  ")[0])
    if words[1].isupper():
        return
    command = " ".join(words[1:3]) if " ".join(words[1:3]) in COMMANDS else words[1]
    assert command in COMMANDS, f"{page}: {line}"
    given = {word.split("=")[0] for word in words[2:] if word.startswith("-")}
    assert given <= options_of(command) | {"--help"}, f"{page}: {line}"


def commands_of_ray() -> list[tuple[str, str]]:
    """Every line that starts Ray, or gives it a job: ``ray start --head …``."""
    found = []
    for page in [*PAGES, *(ROOT / "docs" / "examples").glob("*.slurm")]:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        found += [(page.name, line) for line in re.findall(r"\bray (?:start|job submit) [^`\n]*", text)]
    return found


@pytest.mark.parametrize(("page", "line"), commands_of_ray())
def test_every_command_of_ray_on_a_page_exists_with_these_options(page, line):
    from ray.scripts.scripts import cli

    words = re.split(r"[\s\"'()=,;]+", line.split("#")[0].split(" -- ")[0])
    command = cli.commands.get(words[1])
    if command is None:
        pytest.skip("this Ray has no jobs (ray[default])")
    if words[1] == "job":
        command = command.commands["submit"]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known, f"{page}: {line}"


def test_the_script_for_slurm_is_one_and_calls_a_command_that_exists():
    script = ROOT / "docs" / "examples" / "cluster.slurm"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    text = script.read_text(encoding="utf-8").replace("\\\n", " ")
    called = re.findall(r"^(?:#.*|)\s*\b(?:autofreeze search|sbatch) .*", text, re.MULTILINE)
    assert len(called) == 2
    for line in called:
        assert set(re.findall(r"--[a-z-]+", line)) <= options_of("search")


def test_the_page_on_search_spaces_names_every_axis_and_no_other():
    text = (ROOT / "docs" / "search-spaces.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert rows == {*SCHEDULE_AXES["flat"], *REGIME_AXES}
    assert "`block`" in text


def test_the_space_shown_on_the_page_is_valid():
    text = (ROOT / "docs" / "search-spaces.md").read_text(encoding="utf-8")
    [yaml] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert SpaceSpec.from_text(yaml).resolve(("stem", "layer1", "head"), 6).searched


def test_the_design_page_names_every_module():
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    modules = [path for path in (ROOT / "autofreeze").rglob("*.py") if path.name != "__init__.py"]
    named = [
        path for path in modules
        if re.search(rf"\b{path.stem}\b", text) or f"`{path.parent.name}/`" in text
    ]  # fmt: skip
    assert named == modules


def test_the_page_on_the_report_names_every_section_in_its_order():
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    table = text.partition("| section |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| ([A-Z].*?) \|", table, re.MULTILINE)
    assert named == [section.title for section in sections(report_of("full"))]


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_gives_both_commands_that_set_everything_up():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install . && autofreeze" in text
    assert "pip install '.[test]' && pytest\n" in text


def test_every_dependency_has_a_lower_and_an_upper_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    for line in [*project["dependencies"], *extras]:
        if not line.startswith("autofreeze["):
            assert ">=" in line, line
            assert "<" in line, line
