"""The README is a session that took place: every command in it is run again, and what it prints is compared.

Commands that install or run the tests are left out. Figures follow from the processor (rounding, which
training amplifies) and from the clock, so each number stands for any number; words, names and layout must
be the same. Which schedule wins a close race follows from rounding too, so its sentence and drawing may be
any, and so may what a verdict on few images comes to. A line of ``…`` alone stands for any lines, ``…``
within a line for any text.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
DRAWN = re.compile("[·▁▂▃▄▅▆▇█]{8,}")
DURATION = re.compile(r"# (?:h # min|min # s|h|min|s)\b")
FOUND = re.compile(
    r"(?:Best schedule found \(unconfirmed\):|Best schedule \(confirmed|Undecided after|No difference).+\n"
    r"(?:.+\n)*?(?=\s*\n|…)"
)
"""The sentence on the winner, which ends at the next empty line or ``…``."""

ANSWER = re.compile(r"(?<=Freeze first, or not\?) .*|(?<=How deep\?) .*|(?<=a decay, or rates by group\?) .*")


def sessions() -> list[tuple[str, str]]:
    """Each command of the console blocks, and the lines that stand below it."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = piece.partition("\n")
            while command.endswith("\\"):
                more, _, output = output.partition("\n")
                command = command[:-1] + more
            found.append((command, output))
    return found


SESSIONS = sessions()


def masked(line: str) -> str:
    """A line with any number for each number and time, any blocks for drawn ones, and single spaces."""
    line = ANSWER.sub("", " ".join(line.split()))
    numbers = NUMBER.sub("#", DRAWN.sub("~", line))
    return DURATION.sub("# s", numbers)


def without_winner(text: str) -> str:
    """The text with the sentence on the winner cut."""
    return FOUND.sub("the winner\n", text)


def pattern_of(output: str) -> re.Pattern[str]:
    """What the output of a command must look like, given what the README shows."""
    parts = []
    for line in without_winner(output).strip("\n").split("\n"):
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(r".*".join(re.escape(piece) for piece in masked(line).split("…")) + r"\n")
    return re.compile("".join(parts))


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the commands of the README print, run one after the other in one folder."""
    folder = tmp_path_factory.mktemp("readme")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AUTOFREEZE_CACHE": str(folder / "cache"),
        "COLUMNS": "110",
    }
    outputs = {}
    for command, _ in SESSIONS:
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        outputs[command] = done.stdout
    return outputs


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("command", "output"), SESSIONS, ids=[command for command, _ in SESSIONS])
def test_the_command_prints_what_the_readme_shows(printed, command, output):
    lines = without_winner(printed[command]).strip().split("\n")
    got = "".join(f"{masked(line)}\n" for line in lines)
    assert pattern_of(output).fullmatch(got), f"{command} printed:\n{printed[command]}"


def test_a_changed_word_or_a_lost_line_is_noticed():
    shown = "best 0.91 of 12\n…\nwritten: best.yaml\n"
    assert pattern_of(shown).fullmatch("best # of #\nany\nwritten: best.yaml\n")
    assert not pattern_of(shown).fullmatch("best # from #\nany\nwritten: best.yaml\n")
    assert not pattern_of(shown).fullmatch("best # of #\nany\n")


def test_every_command_of_the_readme_is_run_or_installs_or_tests():
    shells = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    run = {command for command, _ in SESSIONS}
    for line in "".join(shells).strip().split("\n"):
        *installs, last = line.split(" && ")
        assert all(part.startswith("pip install ") for part in installs), line
        assert last in run or last == "pytest", f"not run by any test: {last}"


def test_the_python_of_the_readme_runs(write_images, tmp_path, monkeypatch):
    import timm
    import torch
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos", (8, 8, 8))
    model = timm.create_model("test_resnet", num_classes=3)
    save_file(dict(model.state_dict()), "weights.safetensors")
    [code] = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    # A smaller model, and a run of one epoch: the calls stay as they are.
    for shown, tried in [
        ('"mobilenetv2_100"', '"test_resnet"'),
        ('out="runs/photos")', 'out="runs/photos", trials=1, epochs=1, image_size=32)'),
        ("range(6)", "range(1)"),
    ]:
        assert shown in code
        code = code.replace(shown, tried)
    loader = [(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 0]))]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    exec(code, {"model": model, "loader": loader, "torch": torch})
    assert any(not torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
