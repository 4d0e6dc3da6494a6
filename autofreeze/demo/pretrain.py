"""Pretrain the demonstration's backbone on glyphs: ``python -m autofreeze.demo.pretrain``.

It writes ``glyphs.safetensors`` beside this file, in about two minutes of CPU time. Nothing else runs it: the
package holds the result. It needs matplotlib, for its fonts.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from typer import echo

from autofreeze.backbone import Backbone, load_backbone
from autofreeze.binding import Columns
from autofreeze.demo.glyphs import GLYPHS, SIZE, Pixels, font_files, render
from autofreeze.errors import AutofreezeError
from autofreeze.examples import Examples
from autofreeze.groups import lies_under
from autofreeze.layers import classifier_modules
from autofreeze.preprocessing import Preprocessing
from autofreeze.recipes import full
from autofreeze.regime import Regime
from autofreeze.training import fit

MODEL = "test_resnet"
"""timm's smallest ResNet: five backbone groups with BatchNorm in each, 376 000 parameters."""

WEIGHTS = Path(__file__).with_name("glyphs.safetensors")
"""What comes with the package."""

VAL_SHARE = 0.05


def main(argv: Sequence[str] | None = None) -> None:
    """Render, train, write."""
    parser = argparse.ArgumentParser(prog="python -m autofreeze.demo.pretrain", description=__doc__)
    parser.add_argument("--per-glyph", type=int, default=500, help="copies of each glyph")
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--lr", type=float, default=3e-3, help="AdamW's highest rate; it falls as a cosine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    given = parser.parse_args(argv)
    began = time.monotonic()
    images, labels = render(given.per_glyph, seed=given.seed, fonts=font_files())
    echo(f"{len(images):,} images of {len(GLYPHS)} glyphs after {time.monotonic() - began:.0f} s")
    preprocessing = _preprocessing(images)
    backbone = load_backbone(given.model, from_scratch=True, image_size=SIZE)
    model = pretrained(
        backbone, images, labels, preprocessing, epochs=given.epochs, lr=given.lr, seed=given.seed
    )
    write(model, given.out, given.model, preprocessing)
    echo(f"{given.out}: {given.out.stat().st_size:,} bytes after {time.monotonic() - began:.0f} s")


def pretrained(
    backbone: Backbone,
    images: Pixels,
    labels: NDArray[np.int64],
    preprocessing: Preprocessing,
    *,
    epochs: float,
    lr: float,
    seed: int,
) -> torch.nn.Module:
    """Train all of a random model on glyphs, and tell each epoch."""
    model = backbone.build(len(GLYPHS), seed=seed)
    order = np.random.default_rng(seed).permutation(len(images))
    n_val = round(VAL_SHARE * len(images))
    examples = Examples(
        images=np.repeat(images[..., None], 3, axis=-1),
        labels=labels,
        n_classes=len(GLYPHS),
        train=np.sort(order[n_val:]),
        val=np.sort(order[:n_val]),
        preprocessing=preprocessing,
    )
    schedule = full(backbone.groups.names, epochs, head_lr=lr, backbone_ratio=1.0, lr_ramp_epochs=0.5)
    regime = Regime(batch_size=128, weight_decay=0.05, label_smoothing=0.1, views="none")
    for record in fit(model, Columns.of(model, backbone.groups), schedule, regime, examples, seed=seed):
        echo(
            f"epoch {record.epochs_done:g}: train loss {record.train_loss:.3f}, "
            f"validation {record.value:.4f} of {record.n_val}, {record.seconds:.0f} s",
        )
    return model


def write(model: torch.nn.Module, path: Path, architecture: str, preprocessing: Preprocessing) -> None:
    """Write the backbone without its head, in half precision, with what it expects of images."""
    head = classifier_modules(model)
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
        if not lies_under(name, head)
    }
    configuration = {
        "architecture": architecture,
        "input_size": [3, preprocessing.image_size, preprocessing.image_size],
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "interpolation": preprocessing.interpolation,
        "crop_pct": preprocessing.crop_pct,
    }
    save_file(
        tensors,
        path,
        metadata={
            "architecture": architecture,
            "pretrained_cfg": json.dumps(configuration),
            "glyphs": GLYPHS,
        },
    )


def _preprocessing(images: Pixels) -> Preprocessing:
    """Normalise as the glyphs are: grey, so all channels alike."""
    mean, std = (round(float(value) / 255, 3) for value in (images.mean(), images.std()))
    return Preprocessing(
        image_size=SIZE, mean=(mean,) * 3, std=(std,) * 3, interpolation="bilinear", crop_pct=1.0
    )


if __name__ == "__main__":
    try:
        main()
    except AutofreezeError as problem:
        raise SystemExit(f"pretrain: {problem}") from None
