"""What another process does in tests of the engine."""

from pathlib import Path

import numpy as np
import torch
from conftest import picture

from autofreeze import recipes
from autofreeze.backbone import load_backbone
from autofreeze.binding import Columns
from autofreeze.engine import Engine
from autofreeze.examples import Examples
from autofreeze.features import FeatureStores
from autofreeze.preprocessing import Preprocessing
from autofreeze.regime import Regime
from autofreeze.training import fit


def probe_curve(folder):
    """Train the head of a small model as test_engine does; its records, a line each."""
    labels = np.arange(36) % 3
    data = Examples(
        images=np.stack([picture(int(label), number, 32) for number, label in enumerate(labels)]),
        labels=labels,
        n_classes=3,
        train=np.arange(24),
        val=np.arange(24, 36),
        preprocessing=Preprocessing(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    )
    backbone = load_backbone("test_resnet", from_scratch=True, image_size=32)
    device = torch.device("cpu")
    stores = FeatureStores(Path(folder), ids=np.arange(36), n_images=36, device=device) if folder else None
    engine = Engine(backbone, 3, device, stores, decoded="photos")
    model = backbone.build(3, seed=0)
    schedule = recipes.linear_probe(backbone.groups.names, 2, head_lr=3e-3)
    columns = Columns.of(model, backbone.groups)
    records = fit(model, columns, schedule, Regime(batch_size=7), data, seed=0, engine=engine)
    return "\n".join(record.model_dump_json(exclude={"seconds"}) for record in records)
