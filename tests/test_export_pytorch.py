"""The plain PyTorch file: its schedule, and a curve that is ours."""

import ast
import dataclasses
import importlib.util
import itertools
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from exported import TABLES, Observer, follows, native_of
from PIL import Image
from safetensors.torch import save_file

from autofreeze import api
from autofreeze.backbone import load_backbone
from autofreeze.binding import Columns
from autofreeze.export.exporting import assess
from autofreeze.export.fidelity import Fidelity
from autofreeze.export.run import export_run
from autofreeze.export.targets.pytorch import PyTorchExporter
from autofreeze.regime import Regime
from autofreeze.results import CurvePoint
from autofreeze.seeds import derive
from autofreeze.sources.listing import digest_of_bytes
from autofreeze.splits import hold_out, scoring_splits
from autofreeze.training import fit
from autofreeze.trial import Workbench

REGIMES = {
    "sgd": Regime(batch_size=6, optimizer="sgd", momentum=0.8),
    "sgd without momentum": Regime(batch_size=6, optimizer="sgd", momentum=0.0, views="none"),
    "weighted and smoothed": Regime(batch_size=6, class_weights="balanced", label_smoothing=0.1),
    "pretrained statistics": Regime(batch_size=6, norm="eval", weight_decay=0.3),
    "crops": Regime(batch_size=6, views="online"),
    "crops, erased": Regime(batch_size=6, views="online", erase=0.4),
    "small batches": Regime(batch_size=2, norm="eval"),
}
ALLOWED = {"PIL", "numpy", "safetensors", "timm", "torch", *sys.stdlib_module_names}


def written(file):
    (script,) = PyTorchExporter().write(file)
    return script.text


def imported(file, folder):
    """The module that the export is."""
    path = folder / "train.py"
    path.write_text(written(file))
    spec = importlib.util.spec_from_file_location("exported_script", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(backbone, name="test_resnet", table="lp_ft", **changes):
    loaded = backbone(name)
    schedule = TABLES[table](loaded.groups.names)
    return native_of(loaded.build(3, seed=0), loaded.groups, schedule, name=name, **changes)


def on_task(file, **changes):
    return file.model_copy(update={"task": file.task.model_copy(update=changes)})


# What is written


def test_a_schedule_of_ones_own_training_is_refused(backbone):
    assessment = assess(PyTorchExporter(), made(backbone).model_copy(update={"task": None}))
    assert assessment.fidelity is Fidelity.REFUSED
    assert "Schedule.load" in assessment.differences[0]


TASKS = {
    "scratch": {},
    "hub": {"from_scratch": False},
    "file": {"from_scratch": False, "weights": "w.safetensors", "threads": 2},
}


def test_the_file_is_formatted_and_needs_torch_and_timm_alone(backbone, tmp_path):
    pytest.importorskip("ruff", reason="ruff is not installed")
    metrics = itertools.cycle(["top1", "balanced_accuracy", "macro_f1", "log_loss"])
    for number, (regime, task) in enumerate(itertools.product([Regime(), *REGIMES.values()], TASKS.values())):
        file = on_task(made(backbone, "test_vit", "gradual", regime=regime), metric=next(metrics), **task)
        text = written(file)
        assert text == written(file)
        (tmp_path / f"{number}.py").write_text(text)
        tree = ast.parse(text)
        names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names += [one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names]
        assert {name.partition(".")[0] for name in names} <= ALLOWED
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", tmp_path]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_names_of_data_never_become_code(backbone, tmp_path):
    hostile = 'x"""\nraise SystemExit("run")\n\u2028# \\'
    file = made(backbone)
    data = file.data.model_copy(update={"name": hostile, "classes": (hostile,) * 3, "layout": hostile})
    module = imported(file.model_copy(update={"data": data}), tmp_path)
    assert module.MODEL == "test_resnet"


@pytest.mark.parametrize("views", ["bank:8", "online"])
def test_a_bank_of_views_is_trained_with_new_ones(backbone, views):
    assert "def cropped" in written(made(backbone, regime=Regime(views=views)))


def test_the_heading_says_what_the_curve_is_to_be_compared_with(backbone):
    file = made(backbone)
    point = CurvePoint(epochs_done=1.0, train_loss=0.5, val_loss=0.25, value=0.75)
    file = file.model_copy(update={"curve": (point,)})
    assert "\n#   epoch 1: 0.50000, 0.25000, 0.7500\n" in written(file)
    assert "epoch 1:" not in written(file.model_copy(update={"curve_views": "bank:8"}))
    data = file.data.model_copy(update={"layout": "CSV table with a column for the part"})
    assert "The images of the search were no class folders" in written(file.model_copy(update={"data": data}))
    assert "no class folders" not in written(file)


# The schedule, and the curve


def in_memory(examples, n_train=21, n_val=9):
    """Images, and what the script calls a split."""
    ours = examples(n_train, n_val)
    return ours, {"train": ours.train, "val": ours.val}


def our_curve(loaded, file, ours):
    model = loaded.build(3, seed=derive(file.seed, "head"))
    columns = Columns.of(model, loaded.groups)
    records = list(fit(model, columns, file.schedule, file.regime, ours, seed=file.seed, metric="top1"))
    return model, [(one.epochs_done, one.train_loss, one.val_loss, one.value) for one in records]


def its_curve(module, model, ours, split):
    figures = module.train(model, ours.images, ours.labels, split, torch.device("cpu"))
    return [tuple(one.values()) for one in figures]


def same_bits(one, other):
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


@pytest.mark.conformance
@pytest.mark.parametrize("table", TABLES)
def test_every_step_is_as_scheduled_and_the_curve_is_ours_to_the_bit(backbone, examples, table, tmp_path):
    file = made(backbone, table=table)
    assert PyTorchExporter().assess(file).fidelity is Fidelity.EXACT
    module = imported(file, tmp_path)
    model = module.build_model(3)
    ours, split = in_memory(examples)
    with Observer(model) as observer:
        curve = its_curve(module, model, ours, split)
    follows(file, model, observer.seen, steps_per_epoch=4)
    trained, expected = our_curve(backbone("test_resnet"), file, ours)
    assert curve == expected
    assert same_bits(model, trained)


@pytest.mark.conformance
@pytest.mark.parametrize("regime", REGIMES)
def test_so_it_is_in_every_regime(backbone, examples, regime, tmp_path):
    file = made(backbone, table="refrozen", regime=REGIMES[regime])
    module = imported(file, tmp_path)
    model = module.build_model(3)
    ours, split = in_memory(examples)
    labels = np.where(np.arange(30) < 12, 0, ours.labels)  # unequal classes
    ours = dataclasses.replace(ours, labels=labels)
    with Observer(model) as observer:
        curve = its_curve(module, model, ours, split)
    follows(file, model, observer.seen, steps_per_epoch=-(-21 // file.regime.batch_size))
    trained, expected = our_curve(backbone("test_resnet"), file, ours)
    assert curve == expected
    assert same_bits(model, trained)


@pytest.mark.conformance
@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_so_it_is_for_other_models(backbone, examples, name, tmp_path):
    file = made(backbone, name, "gradual")
    module = imported(file, tmp_path)
    model = module.build_model(3)
    ours, split = in_memory(examples, 8, 4)
    with Observer(model) as observer:
        curve = its_curve(module, model, ours, split)
    follows(file, model, observer.seen, steps_per_epoch=2)
    trained, expected = our_curve(backbone(name), file, ours)
    assert curve == expected
    assert same_bits(model, trained)


@pytest.mark.parametrize("metric", ["top1", "balanced_accuracy", "macro_f1", "log_loss"])
def test_it_is_judged_as_the_search_judged(backbone, metric, tmp_path):
    from autofreeze.metrics import score

    module = imported(on_task(made(backbone), metric=metric), tmp_path)
    rng = np.random.default_rng(1)
    true, predicted = np.repeat([0, 2, 3], (5, 30, 9)), rng.integers(0, 4, 44)
    assert metric == module.METRIC
    assert module.score(true, predicted, 0.7) == pytest.approx(score(metric, true, predicted, 0.7), rel=1e-12)


def test_a_loss_that_is_not_finite_ends_it(backbone, examples, tmp_path):
    module = imported(made(backbone), tmp_path)
    model = module.build_model(3)
    torch.nn.init.constant_(model.fc.bias, float("inf"))
    ours, split = in_memory(examples)
    with pytest.raises(SystemExit, match="at step 0; nothing saved"):
        its_curve(module, model, ours, split)


# The model


def test_a_file_of_weights_becomes_our_model(tmp_path):
    donor = timm.create_model("test_efficientnet", num_classes=7)
    weights = tmp_path / "half.safetensors"
    save_file(
        {name: t.half() if t.is_floating_point() else t for name, t in donor.state_dict().items()}, weights
    )
    loaded = load_backbone("test_efficientnet", weights=weights, image_size=32)
    schedule = TABLES["lp_ft"](loaded.groups.names)
    file = native_of(loaded.build(3, seed=0), loaded.groups, schedule, name="test_efficientnet")
    module = imported(on_task(file, from_scratch=False, weights=str(weights)), tmp_path)
    assert same_bits(module.build_model(3, weights), loaded.build(3, seed=derive(file.seed, "head")))
    save_file({"conv_stem.weight": donor.conv_stem.weight.detach()}, weights)
    with pytest.raises(SystemExit, match="the weights lack"):
        module.build_model(3, weights)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vgg11", 32),
        ("levit_128s", 224),
        ("deit_tiny_distilled_patch16_224", 96),
        ("mobilenetv3_small_050", 64),
    ],
)
def test_any_model_is_built_as_ours(name, size, tmp_path):
    loaded = load_backbone(name, from_scratch=True, image_size=size)
    schedule = TABLES["linear_probe"](loaded.groups.names)
    file = native_of(loaded.build(3, seed=0), loaded.groups, schedule, name=name, image_size=size)
    module = imported(file, tmp_path)
    assert same_bits(module.build_model(3), loaded.build(3, seed=derive(file.seed, "head")))


# The images


def bench_of(root, **task):
    given = {"model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu"}
    from autofreeze.task import Task

    return Workbench.open(Task(data=str(root), **given, **task))


def opened(backbone, root, folder, **task):
    file = on_task(made(backbone), **task)
    file = file.model_copy(
        update={
            "backbone": file.backbone.model_copy(
                update={"preprocessing": backbone("test_resnet").preprocessing}
            )
        }
    )
    return imported(file, folder).open_images(root)


def is_same(bench, images, labels, classes, split):
    assert classes == list(bench.dataset.classes)
    assert labels.tolist() == bench.dataset.labels.tolist()
    assert split["train"].tolist() == bench.splits[0].train.tolist()
    assert split["val"].tolist() == bench.splits[0].val.tolist()
    seen = np.union1d(split["train"], split["val"])
    assert np.array_equal(images[seen], bench.store.images[seen])


@pytest.fixture(scope="module")
def odd_folders(tmp_path_factory, write_images):
    """Names out of order, all kinds of files, classes of unequal size, one image that is broken."""
    root = tmp_path_factory.mktemp("odd") / "photos"
    write_images(root, (13, 9, 24))
    (root / "plain").rename(root / "zebra 2")
    (root / "rows").rename(root / "Zebra 10")
    (root / ".hidden").mkdir()
    shutil.copy(root / "columns/000.png", root / ".hidden/000.png")
    shutil.copy(root / "columns/000.png", root / "columns/twin.PNG")
    folder = root / "columns"
    (folder / "001.png").rename(folder / "1000.png")
    (folder / ".002.png").write_bytes(b"hidden")
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    colours.save(folder / "turned.jpg", exif=exif)
    colours.convert("CMYK").save(folder / "cmyk.jpg")
    colours.convert("P").save(folder / "palette.png")
    colours.convert("1").save(folder / "bits.png")
    colours.convert("RGBA").save(folder / "clear.png")
    Image.fromarray(rng.integers(0, 65536, (40, 60), dtype=np.uint16)).save(folder / "deep.png")
    whole = (folder / "003.png").read_bytes()
    (folder / "003.png").write_bytes(whole[: len(whole) // 2])
    return root


@pytest.mark.parametrize("task", [{}, {"split_seed": 5}, {"test_share": 0.0}, {"test_share": 0.45}])
def test_class_folders_are_split_as_ours(backbone, odd_folders, task, tmp_path, capsys):
    own = opened(backbone, odd_folders, tmp_path, **task)
    is_same(bench_of(odd_folders, max_bad_images=0.1, folds=1, **task), *own)
    assert "left out columns/003.png" in capsys.readouterr().err or task.get("test_share", 0.2) > 0


def test_a_test_part_is_held_out_as_ours_whatever_is_in_it(backbone, tmp_path):
    module = imported(made(backbone), tmp_path)
    contents = [b"a", b"b", b"b", b"c", b"d", b"e", b"e", b"e", b"f", b"g", b"h", b"i"]
    paths = [tmp_path / str(number) for number in range(12)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2])
    for module.SPLIT_SEED, module.TEST_SHARE in itertools.product(range(30), (0.0, 0.2, 0.5, 0.99)):
        digests = [digest_of_bytes(content) for content in contents]
        expected = hold_out(labels, digests, seed=module.SPLIT_SEED, share=module.TEST_SHARE)
        assert module.hold_out(paths, labels).tolist() == expected.tolist()


def test_a_fold_is_cut_as_ours_whatever_is_in_it(backbone, tmp_path):
    module = imported(made(backbone), tmp_path)
    rng = np.random.default_rng(0)
    for module.SPLIT_SEED in range(60):
        ids = np.sort(rng.choice(200, 90, replace=False))
        labels = rng.integers(0, 9, 200)
        labels[ids[:18]] = np.tile(rng.permutation(9), 2)  # two of each at least
        (expected,) = scoring_splits(labels, ids, np.array([]), seed=module.SPLIT_SEED, folds=1)
        train, val = module.cut(ids, labels)
        assert (train.tolist(), val.tolist()) == (expected.train.tolist(), expected.val.tolist())
    with pytest.raises(SystemExit, match="a class has fewer than 2 training images"):
        module.cut(np.arange(3), np.array([0, 0, 1]))


@pytest.mark.parametrize("task", [{}, {"resplit": True}, {"resplit": True, "split_seed": 9}])
def test_parts_are_read_as_ours(backbone, split_folders, task, tmp_path):
    is_same(bench_of(split_folders, **task), *opened(backbone, split_folders, tmp_path, **task))


def test_a_part_may_be_called_valid_and_be_missing(backbone, split_folders, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(split_folders / "train", root / "Train")
    is_same(bench_of(root), *opened(backbone, root, tmp_path))
    shutil.copytree(split_folders / "val", root / "Valid")
    is_same(bench_of(root), *opened(backbone, root, tmp_path))
    (root / "Valid" / "rows").rename(root / "Valid" / "stripes")
    with pytest.raises(SystemExit, match=r"no training images of \{'stripes'\}"):
        opened(backbone, root, tmp_path)


# The command


@pytest.fixture(scope="module")
def searched(split_folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("searched") / "run"
    result = api.search(
        split_folders, "test_resnet", out=out, trials=2, epochs=2, space="quick", device="cpu",
        from_scratch=True, image_size=32, confirm=0, threads=1,
    )  # fmt: skip
    return result, out


@pytest.mark.conformance
def test_run_as_a_command_it_gives_the_curve_of_the_search(searched, split_folders, tmp_path):
    file = export_run(searched[1])
    text = written(file)
    (tmp_path / "train.py").write_text(text)
    command = [sys.executable, "train.py", str(split_folders), "--out", "made", "--device", "cpu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("train_loss") == len(file.curve) == 2
    curve = json.loads((tmp_path / "made" / "curve.json").read_text())
    for one, point in zip(curve, file.curve, strict=True):
        assert one["epochs_done"] == point.epochs_done
        assert one["train_loss"] == pytest.approx(point.train_loss, abs=1e-4)
        assert one["val_loss"] == pytest.approx(point.val_loss, abs=1e-4)
        assert one["top1"] == point.value
        assert f"{point.train_loss:.5f}, {point.val_loss:.5f}, {point.value:.4f}" in text
    model = tmp_path / "made" / "model.safetensors"
    timm.create_model("test_resnet", num_classes=3, checkpoint_path=str(model))


def test_a_model_that_is_there_already_is_not_overwritten(backbone, split_folders, tmp_path, monkeypatch):
    model = tmp_path / "made" / "model.safetensors"
    model.parent.mkdir()
    model.write_text("mine")
    monkeypatch.setattr("sys.argv", ["train.py", str(split_folders), "--out", str(model.parent)])
    with pytest.raises(SystemExit, match="exists already; choose another --out"):
        imported(made(backbone), tmp_path).main()
    assert model.read_text() == "mine"


@pytest.mark.real
@pytest.mark.long
@pytest.mark.conformance
def test_so_it_does_on_photographs(real_data, tmp_path):
    weights = real_data / "weights" / "mobilenetv2_100.imagenet.fp16.safetensors"
    api.search(
        real_data / "hymenoptera2", "mobilenetv2_100", weights=str(weights), out=tmp_path / "run", trials=1,
        epochs=1, space="quick", device="cpu", image_size=64, confirm=0, threads=1,
    )  # fmt: skip
    file = export_run(tmp_path / "run")
    (tmp_path / "train.py").write_text(written(file))
    command = [sys.executable, "train.py", str(real_data / "hymenoptera2"), "--weights", str(weights)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (one,) = json.loads((tmp_path / "trained" / "curve.json").read_text())
    assert one["train_loss"] == pytest.approx(file.curve[0].train_loss, abs=1e-4)
    assert one["val_loss"] == pytest.approx(file.curve[0].val_loss, abs=1e-4)
