"""The export for the Trainer of Hugging Face, followed by the Trainer itself."""

import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from exported import TABLES, Observer, follows, native_of
from torch.nn import functional as F

from autofreeze.binding import BoundSchedule, Columns
from autofreeze.export.exporting import assess
from autofreeze.export.fidelity import Fidelity
from autofreeze.export.targets.huggingface import HuggingFaceExporter
from autofreeze.regime import Regime

IMAGES = 21
STEPS = 4
"""Steps of an epoch: three batches of 6 images, and one of 3."""

REGIMES = {
    "adamw": Regime(batch_size=6, weight_decay=0.3),
    "sgd": Regime(batch_size=6, optimizer="sgd", momentum=0.8, label_smoothing=0.1),
    "sgd without momentum": Regime(batch_size=6, optimizer="sgd", momentum=0.0),
    "weighted classes": Regime(batch_size=6, class_weights="balanced", norm="eval"),
}


def written(file):
    (module,) = HuggingFaceExporter().write(file)
    return module.text


def imported(file):
    module = {"__name__": "exported_module"}
    exec(compile(written(file), "huggingface.py", "exec"), module)
    return type("Module", (), {name: staticmethod(one) for name, one in module.items()})


def made(backbone, name="test_resnet", table="lp_ft", **changes):
    loaded = backbone(name)
    schedule = TABLES[table](loaded.groups.names)
    return native_of(loaded.build(3, seed=0), loaded.groups, schedule, name=name, **changes)


# What is written


def test_a_schedule_of_ones_own_training_is_refused(backbone):
    assessment = assess(HuggingFaceExporter(), made(backbone).model_copy(update={"task": None}))
    assert assessment.fidelity is Fidelity.REFUSED


def test_the_module_is_formatted_in_every_regime(backbone, tmp_path):
    pytest.importorskip("ruff", reason="ruff is not installed")
    others = {"crops": Regime(views="online", erase=0.25), "plain": Regime(views="none", batch_size=64)}
    for number, regime in enumerate([*REGIMES.values(), *others.values()]):
        file = made(backbone, "test_vit", "gradual", regime=regime)
        assert written(file) == written(file)
        (tmp_path / f"{number}.py").write_text(written(file))
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", tmp_path]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# What the Trainer does by it


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="transformers is not installed: extra conformance")


def data(n=IMAGES):
    generator = torch.Generator().manual_seed(0)
    return [
        {"pixel_values": torch.randn(3, 32, 32, generator=generator), "labels": number % 3}
        for number in range(n)
    ]


def trainer(transformers, module, model, folder, *, parts=1, options=None, **given):
    """A Trainer on the CPU that tells and keeps nothing unless asked."""
    options = {"save_strategy": "no", "logging_strategy": "no", **(options or {})}
    arguments = module.training_arguments(
        folder, STEPS, parts, use_cpu=True, report_to="none", disable_tqdm=True, **options
    )
    return transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=data(),
        optimizers=module.optimizers(model, STEPS),
        callbacks=[module.FreezingCallback(STEPS)],
        **given,
    )


conformance = pytest.mark.conformance


HARDEST = ("lp_ft in mid-epoch", "chain_thaw", "part of an epoch")


@conformance
@pytest.mark.parametrize(
    ("table", "parts"),
    [
        pytest.param(table, parts, marks=pytest.mark.long if parts > 1 and table not in HARDEST else ())
        for table in TABLES
        for parts in (1, 2)
    ],
)
def test_every_step_is_as_scheduled(backbone, transformers, table, parts, tmp_path):
    file = made(backbone, table=table)
    assert HuggingFaceExporter().assess(file).fidelity is Fidelity.EXACT
    module = imported(file)
    model = module.Classifier(backbone("test_resnet").build(3, seed=0))
    with Observer(model.timm_model) as observer:
        trainer(transformers, module, model, tmp_path, parts=parts).train()
    follows(file, model.timm_model, observer.seen, STEPS)


@conformance
@pytest.mark.parametrize("regime", REGIMES)
def test_the_model_is_as_a_loop_of_ones_own_trains_it(backbone, transformers, regime, tmp_path):
    file = made(backbone, table="refrozen", regime=REGIMES[regime])
    file = file.model_copy(update={"data": file.data.model_copy(update={"class_images": (12, 6, 3)})})
    module = imported(file)
    loaded = backbone("test_resnet")
    model = module.Classifier(loaded.build(3, seed=0))
    batches = []
    model.register_forward_pre_hook(
        lambda _, __, inputs: batches.append((inputs["pixel_values"], inputs["labels"])), with_kwargs=True
    )
    with Observer(model.timm_model) as observer:
        trainer(transformers, module, model, tmp_path).train()
    follows(file, model.timm_model, observer.seen, STEPS)

    own = loaded.build(3, seed=0)
    bound = BoundSchedule(file.schedule, own, Columns.of(own, loaded.groups), file.regime, STEPS)
    weights = torch.tensor([21 / 36, 21 / 18, 21 / 9]) if regime == "weighted classes" else None
    for step, (images, labels) in enumerate(batches):
        bound.start_step(step)
        bound.optimizer.zero_grad()
        smoothing = file.regime.label_smoothing
        F.cross_entropy(own(images), labels, weight=weights, label_smoothing=smoothing).backward()
        bound.step()
    assert [len(labels) for _, labels in batches[:STEPS]] == [6, 6, 6, 3]
    for name, tensor in own.state_dict().items():
        torch.testing.assert_close(model.timm_model.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


@conformance
def test_gradients_in_parts_are_those_of_the_whole_batch(backbone, transformers, tmp_path):
    file = made(backbone, "test_vit", "lp_ft in mid-epoch", regime=Regime(batch_size=6, optimizer="sgd"))
    module = imported(file)
    models = []
    for parts in (1, 3):
        models.append(module.Classifier(backbone("test_vit").build(3, seed=0)))
        with Observer(models[-1].timm_model) as observer:
            trainer(transformers, module, models[-1], tmp_path, parts=parts).train()
        follows(file, models[-1].timm_model, observer.seen, STEPS)
    for name, tensor in models[0].state_dict().items():
        torch.testing.assert_close(models[1].state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


@conformance
@pytest.mark.parametrize(
    ("table", "parts"),
    [
        ("lp_ft in mid-epoch", 1),
        ("refrozen", 2),
        pytest.param("gradual", 1, marks=pytest.mark.long),
        pytest.param("chain_thaw", 2, marks=pytest.mark.long),
    ],
)
def test_a_run_that_was_broken_off_goes_on_in_mid_schedule(backbone, transformers, table, parts, tmp_path):
    file = made(backbone, table=table)
    module = imported(file)

    def run(folder, **given):
        model = module.Classifier(backbone("test_resnet").build(3, seed=0))
        options = {"save_strategy": "steps", "save_steps": 7}
        own = trainer(transformers, module, model, folder, parts=parts, options=options)
        with Observer(model.timm_model) as observer:
            own.train(**given)
        return model, observer.seen

    whole, seen = run(tmp_path)
    resumed, later = run(tmp_path / "again", resume_from_checkpoint=str(tmp_path / "checkpoint-7"))
    assert len(later) == len(seen) - 7
    follows(file, resumed.timm_model, [*seen[:7], *later], STEPS)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


@conformance
def test_evaluation_within_an_epoch_changes_no_mode(backbone, transformers, tmp_path):
    file = made(backbone, table="lp_ft in mid-epoch")
    module = imported(file)
    model = module.Classifier(backbone("test_resnet").build(3, seed=0))
    own = trainer(
        transformers, module, model, tmp_path, options={"eval_strategy": "steps", "eval_steps": 3},
        eval_dataset=data(5),
    )  # fmt: skip
    with Observer(model.timm_model) as observer:
        own.train()
    follows(file, model.timm_model, observer.seen, STEPS)
    losses = [entry["eval_loss"] for entry in own.state.log_history if "eval_loss" in entry]
    assert len(losses) == 6  # after steps 3, 6, 9, 12 and 15, and at the end
    model.eval()
    with torch.no_grad():
        logits = model(torch.stack([one["pixel_values"] for one in data(5)]))["logits"]
    expected = F.cross_entropy(logits, torch.tensor([one["labels"] for one in data(5)]))
    assert own.evaluate()["eval_loss"] == pytest.approx(float(expected), rel=1e-4)


@conformance
def test_the_timm_wrapper_of_transformers_follows_it_too(backbone, transformers, tmp_path):
    file = made(backbone, table="chain_thaw")
    module = imported(file)
    config = transformers.TimmWrapperConfig(architecture="test_resnet", num_labels=3)
    model = transformers.TimmWrapperForImageClassification(config)
    own = trainer(transformers, module, model, tmp_path, parts=2, compute_loss_func=module.step_loss)
    with Observer(model.timm_model) as observer:
        own.train()
    follows(file, model.timm_model, observer.seen, STEPS)


@conformance
def test_epochs_of_another_length_are_refused(backbone, transformers, tmp_path):
    module = imported(made(backbone))
    model = module.Classifier(backbone("test_resnet").build(3, seed=0))
    with pytest.raises(ValueError, match="an epoch has 11 steps, not 4"):
        trainer(transformers, module, model, tmp_path, options={"per_device_train_batch_size": 2}).train()
    with pytest.raises(ValueError, match="6 images cannot be shared out to 1 devices with 4 parts each"):
        module.training_arguments(str(tmp_path), STEPS, 4, use_cpu=True)
    assert module.steps_per_epoch(IMAGES) == STEPS == math.ceil(IMAGES / 6)


@conformance
def test_the_run_ends_with_the_schedule_whatever_else_is_asked(backbone, transformers, tmp_path):
    file = made(backbone, table="part of an epoch")
    module = imported(file)
    model = module.Classifier(backbone("test_resnet").build(3, seed=0))
    own = trainer(transformers, module, model, tmp_path, options={"max_steps": 1000})
    with Observer(model.timm_model) as observer:
        own.train()
    follows(file, model.timm_model, observer.seen, STEPS)


ONE_OF_TWO = """
import os, sys
from pathlib import Path
import torch
from torch.distributed import all_gather_object
from transformers import Trainer
from autofreeze.backbone import load_backbone
from autofreeze.export.native import NativeFile
from exported import Observer, follows
from test_export_huggingface import STEPS, data, imported

file = NativeFile.load(sys.argv[1])
module = imported(file)
model = module.Classifier(load_backbone("test_resnet", from_scratch=True, image_size=32).build(3, seed=0))
before = {name: tensor.clone() for name, tensor in model.timm_model.state_dict().items()}
arguments = module.training_arguments(
    sys.argv[2], STEPS, use_cpu=True, ddp_backend="gloo", report_to="none", disable_tqdm=True,
    save_strategy="no", logging_strategy="no",
)
assert arguments.per_device_train_batch_size == 3
trainer = Trainer(
    model=model, args=arguments, train_dataset=data(), optimizers=module.optimizers(model, STEPS),
    callbacks=[module.FreezingCallback(STEPS)],
)
with Observer(model.timm_model) as observer:
    trainer.train()
assert type(trainer.model_wrapped).__name__ == "DistributedDataParallel"
follows(file, model.timm_model, observer.seen, STEPS)
after = model.timm_model.state_dict()
moved = {name for name in after if not torch.equal(before[name], after[name])}
never = [g for n, g in enumerate(file.schedule.groups) if all(p.lrs[n] is None for p in file.schedule.phases)]
still = [name for name in after if name.startswith(tuple(never))]
assert not moved.intersection(still)
states = [None, None]
all_gather_object(states, {name: tensor.tolist() for name, tensor in model.named_parameters()})
assert states[0] == states[1], "the replicas have drifted apart"
print("replicas are equal,", len(still), "still")
"""


@conformance
@pytest.mark.long
@pytest.mark.parametrize("table", ["lp_ft in mid-epoch", "refrozen"])
def test_two_processes_keep_their_replicas_equal(backbone, transformers, table, tmp_path):
    (tmp_path / "best.yaml").write_text(made(backbone, table=table).to_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    paths = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", ONE_OF_TWO, "best.yaml", "out"]
    both = [
        subprocess.Popen(
            command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **common, **paths, "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    for process in both:
        told, problems = process.communicate(timeout=120)
        assert process.returncode == 0, problems
        assert "replicas are equal" in told
