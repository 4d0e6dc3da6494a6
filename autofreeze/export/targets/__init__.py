"""The targets that a schedule can be exported to: a module for each."""

from autofreeze.export.exporter import Exporter
from autofreeze.export.targets.fastai import FastaiExporter
from autofreeze.export.targets.huggingface import HuggingFaceExporter
from autofreeze.export.targets.json import JsonExporter
from autofreeze.export.targets.lightning import LightningExporter
from autofreeze.export.targets.pytorch import PyTorchExporter
from autofreeze.export.targets.yaml import YamlExporter

EXPORTERS: tuple[Exporter, ...] = (
    YamlExporter(),
    JsonExporter(),
    PyTorchExporter(),
    LightningExporter(),
    FastaiExporter(),
    HuggingFaceExporter(),
)
"""In the order in which they are listed."""
