"""A tiny LightningModule around a timm model, and its Trainer, for the tests of exports to Lightning."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

THIRD_PARTIES = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        # Lightning with a newer torch than it was made with.
        ".*LeafSpec.*is deprecated:FutureWarning",
        # Lightning's advice, on what the tests do without.
        ".*does not have many workers.*:UserWarning:lightning",
        r"Found \d+ module\(s\) in eval mode at the start of training.*:UserWarning:lightning",
        ".*resuming from a checkpoint that ended before.*:UserWarning:lightning",
    )
]
"""Warnings that are none of this project's."""

STEPS = 4
"""Batches of :func:`loader` in an epoch."""


class Classifier(lightning.LightningModule):
    """Holds a timm model at an attribute of any name."""

    def __init__(self, model, configure, attribute="model"):
        super().__init__()
        self.add_module(attribute, model)
        self.attribute = attribute
        self.configure = configure

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return torch.nn.functional.cross_entropy(self.get_submodule(self.attribute)(images), labels)

    def validation_step(self, batch, batch_idx):
        self.get_submodule(self.attribute)(batch[0])

    def configure_optimizers(self):
        return self.configure(self)


class Hasty(Classifier):
    """Puts everything into training mode as an epoch begins and after validation, as many modules do."""

    def on_train_epoch_start(self):
        self.train()

    def on_validation_model_train(self):
        self.train()


def loader(steps=STEPS, size=6):
    """Batches of random images of 32 px."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(steps * size, 3, 32, 32, generator=generator)
    labels = torch.randint(3, (steps * size,), generator=generator)
    return DataLoader(TensorDataset(images, labels), batch_size=size)


def trainer(folder, callbacks=(), *, max_epochs=100, **options):
    """A Trainer on the CPU that tells and keeps nothing unless asked."""
    options = {"enable_checkpointing": False, "devices": 1, **options}
    return lightning.Trainer(
        accelerator="cpu",
        max_epochs=max_epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        **options,
    )


def module_of(text, folder, name):
    """Import a Python file from its text."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class SaveAt(Callback):
    """Saves a checkpoint and ends the run after a step, as an interrupted run leaves it."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, module, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


class SaveAfter(Callback):
    """Saves a checkpoint at the end of an epoch, the number of epochs trained so far, and ends the run."""

    def __init__(self, epochs, path):
        self.epochs, self.path = epochs, path

    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch + 1 == self.epochs:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def buffers_of(model):
    """The statistics of BatchNorm, copied."""
    return {
        name: buffer.clone() for name, buffer in model.named_buffers() if "running" in name or "num_b" in name
    }


def replicas(target, strategy, table, folder):
    """Train in two processes: the largest difference of their parameters after each epoch, or the error."""
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, str(here / "fitted_replicas.py"), target, strategy, table, str(folder)],
        env={**os.environ, "PYTHONPATH": str(here), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    return json.loads((folder / "seen.json").read_text()) if done.returncode == 0 else done.stderr
