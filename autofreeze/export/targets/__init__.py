"""The targets that a schedule can be exported to: a module for each."""

from autofreeze.export.exporter import Exporter
from autofreeze.export.targets.fastai import FastaiExporter
from autofreeze.export.targets.finetuning_scheduler import FinetuningSchedulerExporter
from autofreeze.export.targets.huggingface import HuggingFaceExporter
from autofreeze.export.targets.json import JsonExporter
from autofreeze.export.targets.lightning import LightningExporter
from autofreeze.export.targets.pytorch import PyTorchExporter
from autofreeze.export.targets.timm import TimmExporter
from autofreeze.export.targets.yaml import YamlExporter

EXPORTERS: tuple[Exporter, ...] = (
    YamlExporter(),
    JsonExporter(),
    PyTorchExporter(),
    FinetuningSchedulerExporter(),
    LightningExporter(),
    FastaiExporter(),
    TimmExporter(),
    HuggingFaceExporter(),
)
"""In the order in which they are listed."""
