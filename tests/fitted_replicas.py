"""Two processes that train by an exported schedule in Lightning's Trainer, and how far they drift apart.

    python fitted_replicas.py lightning|finetuning-scheduler STRATEGY TABLE FOLDER

Lightning starts the second process itself. The first one writes FOLDER/seen.json.
"""

import json
import os
import sys
from pathlib import Path

import fitted
import lightning
import torch
from exported import TABLES, Observer, follows, native_of

from autofreeze.backbone import load_backbone
from autofreeze.export.exporting import exporter_of


class Compare(lightning.Callback):
    """Notes after each epoch the largest difference between the replicas' parameters."""

    def __init__(self):
        self.differences = []

    def on_train_epoch_end(self, trainer, module):
        own = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
        both = trainer.strategy.all_gather(own)
        self.differences.append(float((both[0] - both[1]).abs().max()))


def main(target, strategy, table, folder):
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    own = Path(folder) / f"rank{rank}"
    own.mkdir(exist_ok=True)
    loaded = load_backbone("test_resnet", from_scratch=True, image_size=32)
    model = loaded.build(3, seed=0)
    file = native_of(model, loaded.groups, TABLES[table](loaded.groups.names))
    texts = exporter_of(target).write(file)
    written = fitted.module_of(texts[-1].text, own, "written")
    compare = Compare()
    if target == "lightning":
        module = fitted.Classifier(model, lambda module: written.configure_optimizers(module.model))
        callbacks = [written.FreezingSchedule(), written.KeepFrozenStill(), compare]
    else:
        import finetuning_scheduler as fts

        (own / "best.yaml").write_text(texts[0].text)
        module = fitted.Classifier(model, lambda module: written.ByLayer(module.model))
        callbacks = [
            fts.FinetuningScheduler(str(own / "best.yaml"), epoch_transitions_only=True, restore_best=False),
            fts.FTSCheckpoint(monitor=None, save_top_k=0),
            written.ScheduledRates(),
            written.KeepFrozenStill(),
            compare,
        ]
    trainer = fitted.trainer(
        own, callbacks, devices=2, strategy=strategy, enable_checkpointing=target != "lightning"
    )
    with Observer(model) as observer:
        trainer.fit(module, fitted.loader(2 * fitted.STEPS))
    follows(file, model, observer.seen, fitted.STEPS)
    if rank == 0:
        (Path(folder) / "seen.json").write_text(json.dumps(compare.differences))


if __name__ == "__main__":
    main(*sys.argv[1:])
