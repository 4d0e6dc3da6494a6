"""What every export target promises: the schedule exactly, every difference, or the reason; whole files."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from exported import TABLES, native_of

from autofreeze import recipes
from autofreeze.errors import ConfigError
from autofreeze.export import exporting
from autofreeze.export.exporting import assess, assessments, export_to, exporter_of, write_files
from autofreeze.export.fidelity import Fidelity
from autofreeze.export.native import NativeFile
from autofreeze.export.targets import EXPORTERS
from autofreeze.modes import outermost
from autofreeze.regime import Regime

PAGE = Path(__file__).parents[1] / "docs" / "exports.md"
NAMES = tuple(exporter.name for exporter in EXPORTERS)
EVERY_TARGET = pytest.mark.parametrize("exporter", EXPORTERS, ids=NAMES)
EVERY_TABLE = pytest.mark.parametrize("table", TABLES)


@pytest.fixture(scope="module")
def file_of(backbone):
    """``file_of(table)``: a native file of that table on a tiny model."""
    loaded = backbone("test_resnet")
    model = loaded.build(3, seed=0)

    def make(table="lp_ft", **changes):
        groups = loaded.groups
        return native_of(model, groups, TABLES[table](groups.names), **changes)

    return make


@pytest.fixture(scope="module")
def fine_file(backbone):
    """Layer decay over single layers, as timm has it."""
    loaded = backbone("test_resnet", "fine")
    names = loaded.groups.names
    schedule = recipes.full(
        names, 4, head_lr=4e-3, backbone_ratio=0.75, depth_ratio=0.75 ** (len(names) - 2), rates="decay"
    )
    return native_of(loaded.build(3, seed=0), loaded.groups, schedule)


def written(exporter, file):
    return exporter.write(file) if assess(exporter, file).fidelity is not Fidelity.REFUSED else ()


def python_of(files):
    return [file for file in files if file.ending.endswith(".py")]


def constants(text):
    """The plain values that a Python file names in capitals."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


# The contract


def test_names_differ_and_each_is_found_by_its_own():
    assert len(set(NAMES)) == len(NAMES)
    assert [exporter_of(name) for name in NAMES] == list(EXPORTERS)
    with pytest.raises(ConfigError, match="to: 'jsn' is unknown; did you mean json"):
        exporter_of("jsn")


@EVERY_TARGET
@EVERY_TABLE
def test_a_target_says_it_exactly_or_gives_every_reason(exporter, table, file_of):
    found = assess(exporter, file_of(table))
    assert found.is_exact == (not found.differences)
    assert all(reason[0].islower() or reason[0].isdigit() for reason in found.differences), found.differences
    assert all(len(reason) > 20 and not reason.endswith(".") for reason in found.differences)
    assert len(set(found.differences)) == len(found.differences)


@EVERY_TARGET
@EVERY_TABLE
def test_the_same_file_gives_the_same_answer_and_the_same_texts(exporter, table, file_of):
    one, other = file_of(table), file_of(table)
    assert assess(exporter, one) == assess(exporter, other)
    assert written(exporter, one) == written(exporter, other)


@EVERY_TARGET
@EVERY_TABLE
def test_what_is_written_has_the_endings_that_were_said_and_tells_what_differs(exporter, table, file_of):
    files = written(exporter, file_of(table))
    if not files:
        return
    assert tuple(file.ending for file in files) == exporter.endings
    assert all(file.text.endswith("\n") and "\r" not in file.text for file in files)
    flowing = re.sub(r"\s*\n#?\s*", " ", files[0].text)
    for difference in assess(exporter, file_of(table)).differences:
        assert difference in flowing


@EVERY_TARGET
@EVERY_TABLE
def test_what_is_not_exact_is_written_only_when_asked(exporter, table, file_of):
    file = file_of(table)
    found = assess(exporter, file)
    if found.is_exact:
        assert export_to(exporter.name, file) == (exporter.write(file), found)
        return
    with pytest.raises(ConfigError) as refused:
        export_to(exporter.name, file)
    assert set(found.differences) <= set(refused.value.problems)
    if found.fidelity is Fidelity.REFUSED:
        with pytest.raises(ConfigError):
            export_to(exporter.name, file, approximate=True)
    else:
        assert "--approximate" in str(refused.value)
        assert export_to(exporter.name, file, approximate=True) == (exporter.write(file), found)


@EVERY_TARGET
@pytest.mark.parametrize(
    "regime", [Regime(norm="eval"), Regime(optimizer="sgd"), Regime(class_weights="balanced")]
)
def test_a_regime_is_in_what_is_written_or_in_what_differs(exporter, regime, file_of):
    def answer(**changes):
        file = file_of("full, one rate", **changes)
        texts = [_without_heading(one.text) for one in written(exporter, file)]
        return texts, assess(exporter, file).differences

    assert answer(regime=regime) != answer(regime=Regime())


def _without_heading(text):
    return [line for line in text.splitlines() if not line.startswith("#")]


@EVERY_TARGET
def test_the_table_is_read_back_from_what_was_written(exporter, file_of, tmp_path):
    """Targets with words of their own are read by their consumers, in their own tests."""
    for table in TABLES:
        file = file_of(table)
        if not assess(exporter, file).is_exact:
            continue
        files = exporter.write(file)
        if exporter.name in ("yaml", "json"):
            path = tmp_path / f"back{exporter.endings[0]}"
            path.write_text(files[0].text)
            assert NativeFile.load(path) == file
        elif sources := python_of(files):
            tables = [found for source in sources if "PHASES" in (found := constants(source.text))]
            assert tables
            for found in tables:
                assert found["PHASES"] == [(phase.epochs, list(phase.lrs)) for phase in file.schedule.phases]
                assert {name: tuple(members) for name, members in found["GROUPS"].items()} == outermost(
                    file.backbone.groups
                )


@EVERY_TARGET
def test_a_training_of_ones_own_has_no_model_to_write_down(exporter, file_of):
    own = file_of("lp_ft").model_copy(update={"task": None})
    found = assess(exporter, own)
    if exporter.name in ("yaml", "json"):
        assert found.is_exact
    else:
        assert found.fidelity is Fidelity.REFUSED
        assert "own" in found.differences[0]


HOSTILE = (
    '"""',
    "'''",
    "a\nimport os",
    "b\\",
    "{{ 7 * 7 }}",
    "\u2028print()",
    "\x0c#",
    "$(reboot)",
    "`reboot`",
    "x\r",
)


@EVERY_TARGET
def test_names_from_the_data_never_become_code(exporter, file_of):
    plain = file_of("full, one rate")
    data = plain.data.model_copy(
        update={"name": "\n".join(HOSTILE), "classes": HOSTILE, "class_images": (1,) * 10}
    )
    task = plain.task.model_copy(update={"data": "\n".join(HOSTILE), "weights": "\n".join(HOSTILE)})
    hostile = plain.model_copy(update={"data": data, "task": task})
    for tame, wild in zip(written(exporter, plain), written(exporter, hostile), strict=True):
        if tame.ending.endswith(".py"):
            assert _shape(wild.text) == _shape(tame.text)
        if tame.ending.endswith(".sh"):
            assert "$(reboot)" not in re.sub(r"'[^']*'|^\s*#.*$", "", wild.text, flags=re.MULTILINE)


def _shape(text):
    """The statements of a module without its constants, which may hold any text."""
    tree = ast.parse(text)
    kept = [node for node in tree.body if not isinstance(node, ast.Assign)]
    return [re.sub(r"Constant\(value='.*?'\)", "", ast.dump(node)) for node in kept]


def test_python_passes_ruff_and_imports_no_autofreeze(file_of, fine_file, tmp_path):
    files = {table: file_of(table) for table in TABLES}
    files |= {"sgd": file_of("gradual", regime=Regime(optimizer="sgd", norm="eval", label_smoothing=0.1))}
    files |= {"weights": file_of("lp_ft", regime=Regime(class_weights="balanced", views="online", erase=0.2))}
    files |= {"fine": fine_file}
    for number, (table, file) in enumerate(files.items()):
        for exporter in EXPORTERS:
            for source in python_of(written(exporter, file)):
                path = tmp_path / f"{exporter.name.replace('-', '_')}_{number}{source.ending}"
                path.write_text(source.text, encoding="utf-8")
                assert "autofreeze" not in _imports(source.text), table
    assert [*tmp_path.iterdir()]
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    assert ruff, "ruff comes with the extra `test`"
    for command in (["check", "--select", "E4,E7,E9,F,I,W,B,UP"], ["format", "--check"]):
        done = subprocess.run(
            [ruff, command[0], "--isolated", *command[1:], str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


# Files


def test_files_that_exist_are_left_alone_unless_forced(file_of, tmp_path):
    pair = (exporting.ExportedFile(".yaml", "a: 1\n"), exporting.ExportedFile("_callback.py", "x = 1\n"))
    (tmp_path / "best_callback.py").write_text("mine")
    with pytest.raises(ConfigError, match=r"best_callback.py exists already; --force"):
        write_files(tmp_path / "best.yaml", pair)
    assert [path.name for path in tmp_path.iterdir()] == ["best_callback.py"]
    assert write_files(tmp_path / "best.yaml", pair, force=True) == (
        tmp_path / "best.yaml",
        tmp_path / "best_callback.py",
    )
    assert (tmp_path / "best_callback.py").read_text() == "x = 1\n"


def test_what_cannot_be_written_leaves_nothing_half(file_of, tmp_path):
    pair = (exporting.ExportedFile(".yaml", "a: 1\n"), exporting.ExportedFile("_callback.py", "x = 1\n"))
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        write_files(tmp_path / "folder.yaml", pair, force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_files(tmp_path / "file" / "best.yaml", pair)
    assert {path.name for path in tmp_path.iterdir()} == {"folder.yaml", "file"}


@EVERY_TARGET
def test_no_file_hides_the_package_that_it_needs(exporter, file_of, tmp_path):
    for file in python_of(written(exporter, file_of("full, one rate"))):
        hidden = {"fastai", "lightning", "torch", "transformers"} & _imports(file.text)
        assert hidden
        for name in hidden:
            with pytest.raises(ConfigError, match=rf"{name}.py would hide the package {name}"):
                write_files(tmp_path / f"{name}.py", (file,))
    assert not [*tmp_path.iterdir()]


def _imports(text):
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {(getattr(node, "module", None) or node.names[0].name).split(".")[0] for node in nodes}


# The page


def cell(found):
    return {
        Fidelity.EXACT: "exact",
        Fidelity.WITH_CALLBACK: "with callback",
        Fidelity.APPROXIMATE: "approximate",
        Fidelity.REFUSED: "refused",
    }[found.fidelity]


def rows(file_of, fine_file):
    """Table name -> what each target makes of it."""
    files = {table: file_of(table) for table in TABLES} | {"layer decay, `fine` groups": fine_file}
    return {table: [found for _, found in assessments(file)] for table, file in files.items()}


def tables_of(found):
    """The page's tables: targets by recipes, and the reasons."""
    lines = ["| schedule | " + " | ".join(NAMES) + " |", "|---" * (len(NAMES) + 1) + "|"]
    lines += [f"| {table} | " + " | ".join(map(cell, answers)) + " |" for table, answers in found.items()]
    reasons = {}
    for table, answers in found.items():
        for name, answer in zip(NAMES, answers, strict=True):
            for difference in answer.differences:
                reasons.setdefault((name, difference), []).append(table)
    lines += ["", "| target | what differs, or why it is refused | schedules |", "|---|---|---|"]
    order = sorted(reasons, key=lambda key: NAMES.index(key[0]))
    lines += [f"| {name} | {text} | {'; '.join(reasons[name, text])} |" for name, text in order]
    return "\n".join(lines)


def test_the_page_shows_what_each_target_makes_of_each_recipe(file_of, fine_file, request):
    """``pytest tests/test_exporters.py --renew-page`` writes the tables anew."""
    table = tables_of(rows(file_of, fine_file))
    begin, end = "<!-- made by tests/test_exporters.py -->\n", "\n<!-- end -->"
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(begin)
    shown, _, after = rest.partition(end)
    if request.config.getoption("--renew-page"):
        PAGE.write_text(before + begin + table + end + after, encoding="utf-8")
        shown = table
    assert shown == table


def test_the_list_for_programs_has_every_target_and_its_reasons(file_of):
    from autofreeze.export.listing import to_json

    listed = json.loads(to_json(file_of("refrozen")))
    assert [one["to"] for one in listed] == list(NAMES)
    for one, (_, found) in zip(listed, assessments(file_of("refrozen")), strict=True):
        assert one["differences"] == list(found.differences)
        assert one["fidelity"] == found.fidelity.value
