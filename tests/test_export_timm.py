"""What timm makes of the options that were exported, stepped as its ``train.py`` steps them.

``train.py`` itself lies in timm's repository, not in its package. So its arguments are read and its steps are
taken by what stands below; model, optimizer, rate curve, loss and checkpoints are timm's own.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
import yaml
from exported import TABLES, Observer, follows, native_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from timm.data import create_transform
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2, optimizer_kwargs
from timm.scheduler import create_scheduler_v2, scheduler_kwargs
from timm.utils import CheckpointSaver

from autofreeze import recipes
from autofreeze.binding import make_optimizer
from autofreeze.export.fidelity import Fidelity
from autofreeze.export.layerdecay import deviations, nearest, why_not
from autofreeze.export.targets.timm import TimmExporter, runs_of, scalar, whole_ends
from autofreeze.regime import Regime
from autofreeze.schedule import Phase, Schedule, round_rate

EXACT = {"full, one rate"}
REFUSED = {"one_block", "chain_thaw"}
APPROXIMATE = sorted(set(TABLES) - EXACT - REFUSED)
N_IMAGES, BATCH = 21, 6
STEPS = N_IMAGES // BATCH  # train.py leaves an incomplete batch out

DEFAULTS = {
    "initial_checkpoint": "", "experiment": "", "smoothing": 0.1, "opt": "sgd", "opt_eps": None,
    "opt_betas": None, "momentum": 0.9, "weight_decay": 2e-5, "layer_decay": None,
    "layer_decay_min_scale": 0.0, "layer_decay_no_opt_scale": None, "sched": "cosine",
    "sched_on_updates": False, "lr_noise": None, "lr_noise_pct": 0.67, "lr_noise_std": 1.0,
    "lr_cycle_mul": 1.0, "lr_cycle_decay": 0.5, "lr_cycle_limit": 1, "lr_k_decay": 1.0, "warmup_lr": 1e-5,
    "min_lr": 0.0, "epochs": 300, "decay_milestones": [90, 180, 270], "decay_epochs": 90, "warmup_epochs": 5,
    "warmup_prefix": False, "cooldown_epochs": 0, "patience_epochs": 10, "decay_rate": 0.1, "seed": 42,
    "eval_metric": "top1", "lr": None,
}  # fmt: skip
"""Of train.py: what the export does not name has these values."""

PIXELS = {
    "input_size", "mean", "std", "interpolation", "crop_pct", "no_aug", "train_crop_mode", "scale", "ratio",
    "hflip", "color_jitter", "train_interpolation", "reprob", "remode",
}  # fmt: skip


@pytest.fixture(scope="module")
def case(backbone):
    """``case(table, …)``: a native file for a small model, and what it was made for."""

    def make(table, name="test_resnet", granularity="auto", **changes):
        loaded = backbone(name, granularity, 160 if name == "test_vit" else 32)
        model = loaded.build(3, seed=0)
        schedule = (
            TABLES[table](loaded.groups.names) if isinstance(table, str) else table(loaded.groups.names)
        )
        changes.setdefault("regime", Regime(batch_size=BATCH))
        return native_of(model, loaded.groups, schedule, name=name, **changes)

    return make


@pytest.fixture
def commands(tmp_path):
    """``commands(file)``: the arguments that the written script gives to ``train.py``, run by run."""

    def run(file, *arguments, **environment):
        folder = tmp_path / "it's $(mine)"
        folder.mkdir(exist_ok=True)
        for written in TimmExporter().write(file):
            (folder / f"best of{written.ending}").write_text(written.text)
        told = folder / "told.jsonl"
        told.unlink(missing_ok=True)
        stub = folder / "train me.py"
        stub.write_text(
            f"import json, sys\nopen({str(told)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
        )
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        script, output = folder / "best of.sh", folder / "out put"
        subprocess.run(
            ["bash", str(script), str(stub), str(folder / "da ta"), str(output), *arguments],
            check=True,
            env={**os.environ, "PATH": path, **environment},
        )
        return [json.loads(line) for line in told.read_text().splitlines()]

    return run


def options_of(argv):
    """Read arguments as train.py does: its defaults, then the file after ``-c``, then the command line."""
    found, rest = dict(DEFAULTS), list(argv)
    while rest:
        name = rest.pop(0)
        if name in ("-c", "--pretrained"):
            found.update(
                {"pretrained": True} if name != "-c" else yaml.safe_load(Path(rest.pop(0)).read_text())
            )
        else:
            value = rest.pop(0)
            paths = ("--data-dir", "--output", "--initial-checkpoint", "--experiment", "--pretrained-path")
            found[name[2:].replace("-", "_")] = value if name in paths else yaml.safe_load(value)
    return SimpleNamespace(**found)


def train(options, size=32):
    """Take the steps of train.py, on made images, one process, no mixed precision.

    Returns:
        The model, what was seen at each step, and the weights that it began with.
    """
    model = timm.create_model(
        options.model, num_classes=options.num_classes, checkpoint_path=options.initial_checkpoint
    )
    start = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = create_optimizer_v2(model, **optimizer_kwargs(options))
    scheduler, epochs = create_scheduler_v2(optimizer, **scheduler_kwargs(options), updates_per_epoch=STEPS)
    smoothing = options.smoothing
    loss = LabelSmoothingCrossEntropy(smoothing) if smoothing else torch.nn.CrossEntropyLoss()
    folder = Path(options.output) / options.experiment
    folder.mkdir(parents=True, exist_ok=True)
    saver = CheckpointSaver(model, optimizer, checkpoint_dir=str(folder), recovery_dir=str(folder))
    images = torch.randn(N_IMAGES, 3, size, size, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(N_IMAGES) % 3
    with Observer(model) as watched:
        for epoch in range(epochs):
            model.train()
            for step in range(STEPS):
                part = slice(step * BATCH, (step + 1) * BATCH)
                loss(model(images[part]), labels[part]).backward()
                optimizer.step()
                optimizer.zero_grad()
                scheduler.step_update(num_updates=epoch * STEPS + step + 1)
            model.eval()
            saver.save_checkpoint(epoch, metric=float(epoch))
            scheduler.step(epoch + 1, 0.0)
    return model, watched.seen, start


def whole(file):
    """The schedule with phases that end after whole epochs, as the export says that it has them."""
    schedule = file.schedule.canonical()
    starts, ends = [0, *whole_ends(schedule)], whole_ends(schedule)
    phases = [
        Phase(epochs=end - start, lrs=phase.lrs)
        for start, end, phase in zip(starts, ends, schedule.phases, strict=False)
        if end > start
    ]
    return schedule.model_copy(update={"phases": tuple(phases)})


def geometric(share, *, head=4e-3):
    """Full fine-tuning with rates that fall by the same share from group to group, not rounded."""
    return lambda groups: Schedule(
        groups=groups,
        phases=(Phase(epochs=4, lrs=tuple(head * share**down for down in range(len(groups)))[::-1]),),
    )


def two_rates(groups):
    return recipes.full(groups, 4, head_lr=4e-3, backbone_ratio=0.1, rates="one")


def options_in(file):
    return yaml.safe_load(TimmExporter().write(file)[0].text)


# What is said


@pytest.mark.parametrize("table", TABLES)
def test_each_table_is_exact_approximate_or_refused(case, table):
    found = TimmExporter().assess(case(table)).fidelity
    assert found is (
        Fidelity.EXACT if table in EXACT else Fidelity.REFUSED if table in REFUSED else Fidelity.APPROXIMATE
    )


@pytest.mark.parametrize(
    ("table", "granularity", "name", "exact"),
    [
        (geometric(0.75), "fine", "test_resnet", True),
        (geometric(0.75), 2, "test_resnet", False),
        (geometric(0.75), "fine", "mobilenetv3_small_050", False),
        (two_rates, 3, "test_resnet", True),
        (two_rates, "auto", "mobilenetv3_small_050", False),
        (geometric(1.0), "auto", "mobilenetv3_small_050", True),
        (geometric(1.25, head=1e-4), "fine", "test_resnet", True),
    ],
    ids=["by layer", "by group", "neck", "two rates", "two rates and a neck", "one rate", "rising"],
)
def test_rates_are_exact_where_every_parameter_has_its_own(case, table, granularity, name, exact):
    found = TimmExporter().assess(case(table, name, granularity))
    assert found.is_exact is exact, found.differences
    if name.startswith("mobilenet") and not exact:
        assert "2 of blocks.5's 5 parameters at 4e-3 instead of at" in found.differences[0]


@settings(max_examples=60, deadline=None)
@given(
    share=st.floats(0.2, 0.99),
    head=st.floats(1e-6, 1.0),
    trains=st.integers(1, 9),
    below=st.integers(0, 4),
    digits=st.sampled_from([2, 4, 6]),
)
@example(share=0.33, head=0.11531646011261486, trains=8, below=0, digits=2)  # both rates rounded, one way
def test_what_falls_by_layer_above_any_border_is_said_without_a_deviation(share, head, trains, below, digits):
    share = float(f"{share:.{digits}g}")
    rates = [None] * below + [round_rate(head * share**down) for down in range(trains)][::-1]
    cells = {str(number): rate for number, rate in enumerate(rates)}
    layers = {group: (number, number) for number, group in enumerate(cells)}
    assert why_not([cells]) == []
    assert deviations(cells, layers, nearest(cells, layers)) == []


def test_a_table_of_six_digits_is_layer_decay_to_six_digits(case):
    file = case(
        lambda groups: recipes.full(
            groups, 4, head_lr=4e-3, backbone_ratio=0.75, depth_ratio=0.75 ** (len(groups) - 2)
        ),
        granularity="fine",
    )
    assert TimmExporter().assess(file).is_exact
    assert options_in(file)["layer_decay"] == 0.75


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"regime": Regime(norm="eval")}, "statistics of BatchNorm follow"),
        ({"regime": Regime(class_weights="balanced")}, "classes weigh alike"),
        ({"name": "test_vit"}, "spares cls_token and pos_embed"),
    ],
)
def test_what_the_regime_asks_beyond_the_options_is_told(case, changes, words):
    found = TimmExporter().assess(case("full, one rate", **changes))
    assert found.fidelity is Fidelity.APPROXIMATE
    assert len(found.differences) == 1
    assert words in found.differences[0]


def test_spared_parameters_do_not_differ_where_nothing_decays_or_they_are_frozen(case):
    assert TimmExporter().assess(case("full, one rate", "test_vit", regime=Regime(weight_decay=0))).is_exact
    found = TimmExporter().assess(case("frozen_stem", "test_vit"))
    assert not any("spares" in difference for difference in found.differences)


def test_an_older_file_knows_no_layers_and_needs_none_for_one_rate(case):
    def older(table):
        file = case(table)
        return file.model_copy(update={"backbone": file.backbone.model_copy(update={"timm_layers": {}})})

    assert TimmExporter().assess(older("full, one rate")).is_exact
    assert TimmExporter().assess(older("full, decay")).fidelity is Fidelity.REFUSED
    assert "layers" in TimmExporter().assess(older("linear_probe")).differences[0]


@pytest.mark.parametrize(
    ("epochs", "ends"),
    [
        ((1, 1.5), [1, 3]),
        ((0.3, 3.7), [0, 4]),
        ((0.2,), [1]),
        ((1.5, 2.5), [2, 4]),
        ((1.4, 1, 0.1), [1, 2, 3]),
    ],
)
def test_phases_end_at_the_nearest_whole_epoch_and_the_run_has_one(case, epochs, ends):
    def table(groups):
        lrs = [(None,) * number + (1e-3,) * (len(groups) - number) for number in range(len(epochs))]
        phases = [Phase(epochs=length, lrs=row) for length, row in zip(epochs, lrs, strict=True)]
        return Schedule(groups=groups, phases=tuple(phases))

    file = case(table)
    assert whole_ends(file.schedule) == ends
    assert "timm trains whole epochs" in " ".join(TimmExporter().assess(file).differences)
    lengths = [end - start for start, end in zip([0, *ends], ends, strict=False) if end > start]
    assert [run.epochs for run in runs_of(file)] == lengths
    assert ("epochs" in options_in(file)) is (len(lengths) == 1)


# What is written


@pytest.mark.parametrize("value", [1e-5, 3.5e-7, 1e16, 0.0, 4e-4, True, 3, [3, 32, 1e-9], "a: b # 'c'"])
def test_numbers_are_numbers_to_readers_of_yaml_1_1(value):
    assert yaml.safe_load(scalar(value)) == value


def test_every_option_is_read_by_timm_or_is_train_pys_own(case):
    class Watched(SimpleNamespace):
        def __getattribute__(self, name):
            read.add(name)
            return super().__getattribute__(name)

    for table in ("full, decay", "frozen_stem", "lp_ft, ramp", "lp_ft, constant"):
        for view in ("none", "flip", "online"):
            file = case(table, regime=Regime(views=view, erase=0.1 if view == "online" else 0))
            read = set()
            options = options_in(file)
            given = Watched(**(DEFAULTS | options))
            optimizer_kwargs(given), scheduler_kwargs(given)
            own = {"model", "num_classes", "pretrained", "batch_size", "smoothing"}
            assert not set(options) - read - PIXELS - own


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("table", ["full, one rate", "gradual"])
def test_the_script_is_clean_to_shellcheck(case, table, tmp_path):
    path = tmp_path / "runs.sh"
    path.write_text(TimmExporter().write(case(table))[1].text)
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_script_chains_the_runs_and_keeps_every_path_whole(case, commands):
    file = case("gradual")
    runs = commands(file, "--amp-dtype", "bfloat16", WEIGHTS="my weights.pth")
    folder = Path(runs[0][1]).parent
    assert [argv[-2:] for argv in runs] == [["--amp-dtype", "bfloat16"]] * 4
    assert {argv[argv.index("--data-dir") + 1] for argv in runs} == {str(folder / "da ta")}
    assert [argv[argv.index("--experiment") + 1] for argv in runs] == [f"phase-{n}" for n in range(4)]
    assert [argv[argv.index("--pretrained-path") + 1] for argv in runs[:1]] == ["my weights.pth"]
    assert all("--pretrained-path" not in argv for argv in runs[1:])
    handed = [argv[argv.index("--initial-checkpoint") + 1] for argv in runs[1:]]
    assert handed == [str(folder / "out put" / f"phase-{n}" / "last.pth.tar") for n in range(3)]
    assert "--pretrained-path" not in commands(file)[0]


def test_weights_of_the_hub_are_asked_for_once(case, commands):
    def asked(table):
        file = case(table)
        return file.model_copy(update={"task": file.task.model_copy(update={"from_scratch": False})})

    assert options_in(asked("full, one rate"))["pretrained"] is True
    assert ["--pretrained" in argv for argv in commands(asked("lp_ft"))] == [True, False]
    assert "pretrained" not in options_in(asked("lp_ft"))
    assert "pretrained" not in options_in(case("full, one rate"))


@pytest.mark.parametrize("view", ["none", "flip"])
def test_training_images_are_those_of_validation_or_their_mirror_where_nothing_is_cropped(case, view):
    import numpy as np
    from PIL import Image

    file = case("full, one rate", regime=Regime(views=view))
    pixels = file.backbone.preprocessing.model_copy(update={"crop_pct": 1.0})
    file = file.model_copy(update={"backbone": file.backbone.model_copy(update={"preprocessing": pixels})})
    options = options_in(file)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    shared = {name: tuple(options[name]) for name in ("input_size", "mean", "std")}
    names = ("no_aug", "train_crop_mode", "scale", "ratio", "hflip", "color_jitter")
    augmented = {name: options[name] for name in names if name in options}
    training = create_transform(
        **shared, is_training=True, **augmented, interpolation=options.get("train_interpolation", "bicubic")
    )
    shown = create_transform(**shared, interpolation="bicubic", crop_pct=1.0)(image)
    torch.manual_seed(0)
    seen = [training(image) for _ in range(12)]
    same = [torch.equal(one, shown) for one in seen]
    mirrored = [torch.equal(one, shown.flip(2)) for one in seen]
    assert all(a or b for a, b in zip(same, mirrored, strict=True))
    assert any(mirrored) is (view == "flip")


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_the_loss_is_that_of_the_schedules_own_training(case, smoothing):
    options = options_in(case("full, one rate", regime=Regime(label_smoothing=smoothing)))
    logits, labels = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(LabelSmoothingCrossEntropy(options["smoothing"])(logits, labels), expected)


# What timm does


@pytest.mark.conformance
@pytest.mark.parametrize("curve", ["cosine", "constant"])
def test_the_curve_of_a_long_run_follows_the_schedule(case, curve):
    """Past the epochs after which ``train.py`` would step the rate down or end a warm-up by default."""
    file = case(lambda groups: recipes.full(groups, 300, head_lr=2e-3, backbone_ratio=1.0, curve=curve))
    options = SimpleNamespace(**(DEFAULTS | options_in(file)))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=options.lr)
    scheduler, epochs = create_scheduler_v2(optimizer, **scheduler_kwargs(options), updates_per_epoch=STEPS)
    rates = []
    for step in range(epochs * STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step_update(step + 1)
    timetable = file.schedule.timetable(STEPS)
    assert rates == pytest.approx([timetable.rate("head", step) for step in range(timetable.total_steps)])


@pytest.mark.conformance
@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("full, one rate", {}),
        ("full, one rate", {"regime": Regime(optimizer="sgd", label_smoothing=0.1, batch_size=BATCH)}),
        (geometric(0.75), {"granularity": "fine"}),
        (two_rates, {}),
        (geometric(0.75), {"granularity": "fine", "name": "test_vit", "regime": Regime(weight_decay=0)}),
    ],
    ids=["one rate", "SGD", "layer decay", "two rates", "no BatchNorm"],
)
@pytest.mark.parametrize("curve", ["cosine", "constant"])
def test_every_step_of_an_exact_export_follows_the_schedule(case, commands, table, changes, curve):
    file = case(table, **changes)
    file = file.model_copy(update={"schedule": file.schedule.model_copy(update={"curve": curve})})
    assert TimmExporter().assess(file).is_exact
    (argv,) = commands(file)
    model, seen, _ = train(options_of(argv), 160 if changes.get("name") == "test_vit" else 32)
    follows(file, model, seen, STEPS)


@pytest.mark.conformance
@pytest.mark.parametrize(
    "regime",
    [Regime(weight_decay=0.3), Regime(optimizer="sgd", momentum=0.8), Regime(optimizer="sgd", momentum=0)],
    ids=["AdamW", "Nesterov", "no momentum"],
)
@pytest.mark.parametrize("table", ["full, one rate", geometric(0.75)], ids=["one rate", "layer decay"])
def test_the_optimizer_is_that_of_the_schedules_own_training(case, regime, table):
    file = case(table, granularity="fine", regime=regime)
    model = timm.create_model("test_resnet", num_classes=3)
    theirs = create_optimizer_v2(model, **optimizer_kwargs(SimpleNamespace(**(DEFAULTS | options_in(file)))))
    columns = [
        tuple(p for name, p in model.named_parameters() if name in set(names))
        for names in file.backbone.groups.values()
    ]
    own = make_optimizer(tuple(columns), regime)
    assert type(theirs) is type(own)
    compared = ("weight_decay", "betas", "eps", "momentum", "nesterov", "dampening", "amsgrad", "maximize")
    mine, timms = (
        {
            id(p): {key: entry.get(key) for key in compared}
            for entry in opt.param_groups
            for p in entry["params"]
        }
        for opt in (own, theirs)
    )
    assert mine == timms


@pytest.mark.conformance
@pytest.mark.parametrize("table", APPROXIMATE)
def test_an_approximate_export_differs_in_what_it_says_and_in_nothing_else(case, commands, table):
    file = case(table)
    said = TimmExporter().assess(file).differences
    schedule = whole(file)
    timetable = schedule.model_copy(update={"lr_ramp_epochs": 0}).timetable(STEPS)
    inside = [re.search(r"up to ([\d.]+)%", text) for text in said]
    gap = max([float(found[1]) / 100 for found in inside if found], default=0) + 5e-4 * any(inside)
    scaled = {
        int(found[1] or 0): dict(re.findall(r"([\w.]+) at ([\d.e-]+) instead", text))
        for text in said
        if (found := re.match(r"(?:in phase (\d+), )?timm scales rates", text))
    }
    group_of = {name: group for group, names in file.backbone.groups.items() for name in names}
    step, last = 0, None
    for phase, argv in enumerate(commands(file)):
        options = options_of(argv)
        model, seen, start = train(options)
        if last is not None:
            assert all(torch.equal(start[name], value) for name, value in last.items())
        last = model.state_dict()
        first = timetable.factor(step)
        cells = dict(zip(schedule.groups, schedule.phases[phase].lrs, strict=True))
        stated = {**cells, **{group: float(rate) for group, rate in scaled.get(phase, {}).items()}}
        for number, one in enumerate(seen):
            ramping = number < options.warmup_epochs * STEPS
            for name, rate in one.rates.items():
                group = group_of[name]
                assert (rate is None) is (cells[group] is None), f"step {step}, {name}"
                if rate is None or ramping:
                    continue
                wanted = stated[group] * timetable.factor(step)
                written = 5e-3 if group in scaled.get(phase, {}) else 1e-9  # of a rate in three digits
                near = gap * stated[group] * first + written * wanted
                assert abs(rate - wanted) <= near, f"step {step}, {name}: {rate} instead of {wanted}"
            if ramping:
                rising = number / (options.warmup_epochs * STEPS)
                assert one.rates["fc.bias"] == pytest.approx(stated["head"] * first * rising)
            assert all(one.training.values()), "all layers are in training mode"
            step += 1
    assert step == timetable.total_steps
    frozen = any(cell is None for phase in schedule.phases for cell in phase.lrs)
    assert any("stay in training mode" in text for text in said) is frozen
    assert any("runs of their own" in text for text in said) is (len(schedule.phases) > 1)
    assert any("whole epochs" in text for text in said) is (
        [phase.epochs for phase in schedule.phases] != [phase.epochs for phase in file.schedule.phases]
    )


@pytest.mark.conformance
def test_statistics_of_frozen_layers_move_as_it_is_said(case, commands):
    (argv,) = commands(case("linear_probe"))
    model, _, start = train(options_of(argv))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, start[name])}
    assert {name for name in moved if "running_" not in name and "num_batches" not in name} == {
        "fc.weight",
        "fc.bias",
    }
    assert any("running_mean" in name for name in moved)
