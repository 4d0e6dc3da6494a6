"""The demonstration: what its images and weights are, and that it ends with an answer and files."""

import json
import unicodedata
from itertools import chain

import numpy as np
import pytest
from typer.testing import CliRunner

from autofreeze.cli import app, main
from autofreeze.demo.contender import Contender
from autofreeze.demo.digits import write_digits
from autofreeze.demo.glyphs import GLYPHS, render
from autofreeze.demo.table import verdict
from autofreeze.errors import ConfigError

LATIN = "".join(glyph for glyph in GLYPHS if glyph.isascii())


# Glyphs


def test_the_same_seed_renders_the_same_glyphs_and_another_seed_others():
    images, labels = render(2, seed=3, glyphs="AKe")
    again, _ = render(2, seed=3, glyphs="AKe")
    other, _ = render(2, seed=4, glyphs="AKe")
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.array_equal(images, again)
    assert not any(np.array_equal(one, two) for one, two in zip(images, other, strict=True))


def test_a_glyph_looks_the_same_whatever_is_rendered_beside_it():
    alone, _ = render(2, seed=0, glyphs="K")
    among, labels = render(3, seed=0, glyphs="AK")
    assert np.array_equal(alone, among[labels == 1][:2])


def test_glyphs_are_bright_strokes_on_black_that_reach_two_opposite_edges():
    images, _ = render(3, seed=0, glyphs=LATIN)
    assert images.dtype == np.uint8
    assert images.shape == (3 * len(LATIN), 32, 32)
    assert (images.max(axis=(1, 2)) > 80).all()
    assert 0.05 < images.mean() / 255 < 0.5
    seen = images > 40
    spans = np.maximum(seen.any(axis=1).sum(axis=1), seen.any(axis=2).sum(axis=1))
    assert (spans >= 24).all()


def test_no_glyph_is_a_digit_or_passes_for_one():
    assert len(set(GLYPHS)) == len(GLYPHS)
    assert all(unicodedata.category(glyph) in ("Lu", "Ll") for glyph in GLYPHS)
    assert not set(GLYPHS) & set("OoIlZzSsBbGgqβδθσΘοЗзЧчЬьбО")


def test_a_glyph_that_no_font_has_is_refused():
    with pytest.raises(ConfigError, match="no font has the glyph"):
        render(1, seed=0, glyphs="\U0010fffd")


# Digits


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "digits"
    write_digits(folder, per_class=10, seed=0)
    return folder


def files_of(folder, part):
    return {path.relative_to(folder / part): path.read_bytes() for path in (folder / part).rglob("*.png")}


def test_every_digit_of_scikit_learn_is_written_once(digits):
    from PIL import Image
    from sklearn.datasets import load_digits

    source = load_digits()
    seen = set()
    for path in digits.rglob("*.png"):
        number = int(path.stem)
        seen.add(number)
        assert path.parent.name == str(source.target[number])
        grey = np.asarray(Image.open(path)) / 255 * 16
        assert np.abs(grey - source.images[number]).max() < 0.04
    assert len(list(digits.rglob("*.png"))) == len(seen) == 1797


def test_training_digits_are_few_even_and_none_of_them_is_tested_on(digits):
    train, test = files_of(digits, "train"), files_of(digits, "test")
    assert np.unique([path.parent.name for path in train], return_counts=True)[1].tolist() == [10] * 10
    assert len(test) == 1697
    assert not {path.name for path in train} & {path.name for path in test}
    assert not set(train.values()) & set(test.values())


def test_the_seed_decides_which_digits_train(digits, tmp_path):
    write_digits(tmp_path / "same", per_class=10, seed=0)
    write_digits(tmp_path / "other", per_class=10, seed=1)
    assert files_of(tmp_path / "same", "train") == files_of(digits, "train")
    assert files_of(tmp_path / "other", "train").keys() != files_of(digits, "train").keys()


# Weights


def test_the_packaged_weights_load_as_any_file_does_and_stay_below_a_megabyte():
    from autofreeze.backbone import load_backbone
    from autofreeze.demo.pretrain import MODEL, WEIGHTS
    from autofreeze.weights import read_weights

    file = read_weights(WEIGHTS)
    backbone = load_backbone(MODEL, weights=WEIGHTS)
    assert WEIGHTS.stat().st_size < 1_000_000
    assert file.architecture == MODEL
    assert set(backbone.preprocessing_from.values()) == {"from the file's metadata"}
    assert backbone.preprocessing.image_size == 32
    assert len(backbone.groups.names) == 6


def test_what_pretraining_writes_is_read_back_as_it_was_in_half_precision(tmp_path, backbone):
    from autofreeze.backbone import load_backbone
    from autofreeze.demo.pretrain import pretrained, write
    from autofreeze.layers import classifier_modules
    from autofreeze.preprocessing import Preprocessing

    grey = Preprocessing(
        image_size=32, mean=(0.25,) * 3, std=(0.5,) * 3, interpolation="bilinear", crop_pct=1.0
    )
    images, labels = render(4, seed=0, glyphs=LATIN[:10])
    model = pretrained(backbone(), images, labels, grey, epochs=1, lr=1e-3, seed=0)
    write(model, tmp_path / "small.safetensors", "test_resnet", grey)
    loaded = load_backbone("test_resnet", weights=tmp_path / "small.safetensors")
    assert loaded.preprocessing == grey
    head = classifier_modules(model)
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(head)}
    assert set(loaded.tensors) == set(state)
    for name, tensor in loaded.tensors.items():
        assert np.allclose(tensor, state[name], rtol=1e-3, atol=1e-6), name


# The comparison


def contender(name, *wrong, n_test=1000):
    """A contender by the test images that each seed gets wrong."""
    correct = np.ones((len(wrong), n_test), bool)
    for turn, ids in enumerate(wrong):
        correct[turn, list(ids)] = False
    return Contender(name, name, correct)


def test_a_lead_counts_only_beyond_two_standard_errors():
    best = contender("best", range(30), range(32), range(28))
    near, far = contender("near", *[range(2, 34)] * 3), contender("far", *[range(80)] * 3)
    said = verdict([best, near, far])
    assert "beats far by more than" in said
    assert "does not beat near" in said


def test_the_error_of_a_lead_counts_images_that_two_schedules_classify_differently_and_the_seeds():
    best, far = contender("a", range(30), range(30)), contender("b", range(80), range(80))
    lead, error = best.lead_over(far)
    assert lead == pytest.approx(0.05)
    assert error == pytest.approx((0.05 * 0.95 / 999) ** 0.5)
    shaky = contender("c", range(60), range(100))
    assert best.lead_over(shaky)[0] == pytest.approx(0.05)
    assert best.lead_over(shaky)[1] > 2 * error
    assert shaky.spread == pytest.approx(0.04 / 2**0.5)


# The whole


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    """The demonstration with 2 trials of 1 epoch on 1 fold, one seed."""
    from autofreeze.demo.demonstration import demonstrate

    out = tmp_path_factory.mktemp("demo") / "run"
    return out, demonstrate(out, trials=2, epochs=1, folds=1, seeds=1)


def test_the_demonstration_ends_with_a_schedule_a_report_and_files(short_run):
    from autofreeze.report.files import read_report

    out, shown = short_run
    assert shown.search.best is not None
    assert read_report(out / "search").best == shown.search.best
    kept = json.loads((out / "demo.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in kept] == ["best", "linear_probe", "from_scratch"]
    assert {one["n_test"] for one in kept} == {1697}
    assert list(chain(*(one["test"] for one in kept))) == [v for one in shown.contenders for v in one.test]


def test_the_exported_files_say_what_was_compared(short_run):
    from autofreeze.export.native import NativeFile

    out, shown = short_run
    best, probe, scratch = (
        NativeFile.load(out / f"{name}.yaml") for name in ("best", "linear_probe", "from_scratch")
    )
    assert best.schedule == shown.search.best.schedule
    assert [lr is None for lr in probe.schedule.phases[0].lrs] == [True] * 5 + [False]
    assert None not in scratch.schedule.phases[0].lrs
    assert scratch.task.from_scratch
    assert scratch.task.weights is None
    assert probe.backbone.weights_digest == best.backbone.weights_digest
    assert scratch.backbone.weights_digest != best.backbone.weights_digest
    assert best.regime == probe.regime == scratch.regime
    assert best.regime.views == "none"


def test_a_second_demonstration_in_the_same_folder_is_refused_and_changes_nothing(short_run, capsys):
    out, _ = short_run
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert main(["demo", "--out", str(out)]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_over_seeds_the_best_schedule_beats_the_linear_probe_and_training_from_scratch(tmp_path):
    leads = {"linear_probe": [], "from_scratch": []}
    for seed in range(3):
        out = tmp_path / str(seed)
        run = CliRunner().invoke(app, ["demo", "--out", str(out), "--seed", str(seed)])
        assert run.exit_code == 0, run.output
        best, *others = json.loads((out / "demo.json").read_text(encoding="utf-8"))
        for one in others:
            leads[one["name"]].append(best["mean"] - one["mean"])
    for name, values in leads.items():
        assert np.mean(values) > 2 * np.std(values, ddof=1) / len(values) ** 0.5, (name, values)
