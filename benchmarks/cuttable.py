"""Which timm families can be cut at every border, and how much lies between prefix and suffix there.

    python benchmarks/cuttable.py [--only NAME ...] [--json FILE]

One small member of each family, made smaller still where its options allow, random weights, small images,
dropout .3, and stochastic depth .2 where the family has it, one thread. Each border is put through the
self-check of ``Cutter.refusal``: bits of logits, gradients and buffers in both modes. One table and, with
--json, one file. About ten minutes on one core.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from autofreeze.binding import Columns
from autofreeze.cut import Cutter
from autofreeze.layers import layer_groups

FOUR = {"depths": (1, 1, 2, 1)}
HEADS = {"num_heads": (1, 2, 4, 8)}
DIMS = {"embed_dims": (16, 32, 64, 128)}

MODELS: dict[str, tuple[int, dict[str, Any]]] = {
    "beit_base_patch16_224": (64, {"embed_dim": 48, "depth": 4, "num_heads": 3}),
    "botnet26t_256": (128, {}),
    "cait_xxs24_224": (64, {"embed_dim": 48, "depth": 4, "num_heads": 2}),
    "coat_lite_tiny": (64, {}),
    "coat_tiny": (64, {"serial_depths": (1, 1, 1, 1), "parallel_depth": 2, "embed_dims": (32, 32, 32, 32)}),
    "test_coatnet": (64, {}),
    "convit_tiny": (64, {"depth": 4, "local_up_to_layer": 2}),
    "convmixer_768_32": (28, {}),
    "test_convnext": (64, {}),
    "test_convnext3": (64, {}),
    "cpubone_nano": (64, {}),
    "crossvit_tiny_240": (240, {"depth": ((1, 2, 0), (1, 2, 0))}),
    "cs3darknet_s": (64, {}),
    "cspnext_tiny": (64, {}),
    "davit_tiny": (64, FOUR | HEADS | DIMS | {"window_size": 4}),
    "deit_tiny_distilled_patch16_224": (64, {"depth": 4}),
    "deit3_small_patch16_224": (64, {"depth": 4, "embed_dim": 48, "num_heads": 3}),
    "densenet121": (64, {"block_config": (2, 2, 2, 2), "growth_rate": 16}),
    "dla46_c": (64, {}),
    "dpn48b": (64, {}),
    "edgenext_xx_small": (64, {}),
    "efficientformer_l1": (224, {"depths": (1, 1, 1, 2), "embed_dims": (16, 32, 64, 128)}),
    "efficientformerv2_s0": (224, {"depths": (1, 1, 2, 2)}),
    "test_efficientnet": (64, {}),
    "efficientvit_b0": (64, {}),
    "efficientvit_m0": (224, {}),
    "eva02_tiny_patch14_224": (56, {"depth": 4, "embed_dim": 48, "num_heads": 3}),
    "fasternet_t0": (64, {}),
    "fastvit_t8": (64, {}),
    "focalnet_tiny_srf": (64, {}),
    "gcvit_xxtiny": (224, {}),
    "test_byobnet": (64, {}),
    "ghostnet_050": (64, {}),
    "gmlp_ti16_224": (64, {}),
    "halonet26t": (256, {}),
    "hardcorenas_a": (64, {}),
    "hgnetv2_b0": (64, {}),
    "hiera_tiny_224": (224, {"embed_dim": 32, "stages": (1, 1, 2, 1)}),
    "hrnet_w18_small": (64, {}),
    "iformer_t": (64, {}),
    "inception_next_atto": (64, {}),
    "inception_v3": (96, {}),
    "lcnetv2_small": (64, {}),
    "legacy_seresnet18": (64, {}),
    "levit_128s": (64, {}),
    "lowformer_b0": (64, {}),
    "test_mambaout": (64, {}),
    "test_maxvit": (64, {}),
    "mixer_s32_224": (64, {}),
    "mobilenetv2_100": (64, {}),
    "mobilenetv3_small_050": (64, {}),
    "mobilenetv4_conv_small_035": (64, {}),
    "mobilevit_xxs": (64, {}),
    "mobilevitv2_050": (64, {}),
    "mvitv2_tiny": (64, {}),
    "nest_tiny": (224, {}),
    "nextvit_small": (64, FOUR),
    "test_nfnet": (64, {}),
    "poolformer_s12": (64, {}),
    "pvt_v2_b0": (64, FOUR),
    "rdnet_tiny": (64, {}),
    "regnetx_002": (64, {}),
    "repghostnet_050": (64, {}),
    "repvgg_a0": (64, {}),
    "repvit_m0_9": (64, {}),
    "res2net50_26w_4s": (64, {}),
    "resmlp_12_224": (64, {}),
    "resnest14d": (64, {}),
    "resnet18": (64, {}),
    "resnetv2_18": (64, {}),
    "rexnet_100": (64, {}),
    "sam2_hiera_tiny": (224, {"embed_dim": 32, "stages": (1, 1, 2, 1)}),
    "samvit_base_patch16_224": (
        224,
        {"embed_dim": 48, "depth": 4, "num_heads": 3, "global_attn_indexes": (1,)},
    ),
    "selecsls42": (64, {}),
    "sequencer2d_s": (224, {"layers": (1, 1, 2, 1), "embed_dims": (32, 64, 64, 64)}),
    "shvit_s1": (64, {}),
    "skresnet18": (64, {}),
    "starnet_s050": (64, {}),
    "swiftformer_xs": (64, {}),
    "swin_tiny_patch4_window7_224": (64, FOUR | HEADS | {"embed_dim": 16, "window_size": 4}),
    "swinv2_cr_tiny_224": (64, FOUR | HEADS | {"embed_dim": 16, "window_size": 4}),
    "swinv2_tiny_window8_256": (64, FOUR | HEADS | {"embed_dim": 16, "window_size": 4}),
    "tiny_vit_5m_224": (
        224,
        {"depths": (1, 1, 2, 1), "embed_dims": (16, 32, 32, 64), "num_heads": (1, 1, 1, 2)},
    ),
    "tnt_s_patch16_224": (64, {"depth": 3, "embed_dim": 48, "num_heads": 3}),
    "tresnet_m": (64, {}),
    "twins_svt_small": (64, FOUR),
    "vgg11_bn": (64, {}),
    "visformer_tiny": (224, {}),
    "test_vit": (64, {}),
    "test_vit_relpos": (64, {}),
    "vitamin_small_224": (224, {}),
    "volo_d1_224": (224, {"layers": (1, 1, 2, 1), "embed_dims": (32, 64, 64, 64), "num_heads": (1, 2, 2, 2)}),
    "ese_vovnet19b_slim": (64, {}),
    "xception41": (64, {}),
    "xcit_nano_12_p16_224": (64, {"depth": 3}),
}
"""Image size and constructor options that make it small, by model."""


def main() -> None:
    """Cut each model at each border, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(MODELS))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'model':34} {'px':>3} {'borders':>7} {'cut':>3} {'tensors':>16} {'KB an image':>40}  s")
    rows = [tell(name) for name in given.only]
    whole = sum(row["borders"] == row["cut"] > 0 for row in rows)
    print(f"{whole} of {len(rows)} can be cut at every border")
    if given.json:
        conditions = {"torch": torch.__version__, "timm": timm.__version__, "machine": platform.processor()}
        given.json.write_text(json.dumps({"conditions": conditions, "models": rows}, indent=1) + "\n")


def tell(name: str) -> dict[str, Any]:
    """Cut one model at each border; a row of the table."""
    size, options = MODELS[name]
    began = time.perf_counter()
    try:
        model = build(name, size, options)
        groups = layer_groups(model, "auto", size)
    except Exception as error:  # noqa: BLE001 - a family that is not there says so in the table
        print(f"{name:34} {size:3} cannot be built: {error}", flush=True)
        return {"model": name, "size": size, "borders": 0, "cut": 0, "refusals": {"": str(error)}}
    cutter = Cutter(model, Columns.of(model, groups), size, chunk=8)
    names = groups.names
    refusals = {names[b]: told for b in range(1, len(names)) if (told := cutter.refusal(b))}
    shapes = {names[b]: cutter.shapes(b) for b in range(1, len(names)) if names[b] not in refusals}
    kilobytes = {
        group: [round(torch.Size(shape).numel() / 256, 1) for shape in of] for group, of in shapes.items()
    }
    row = {
        "model": name,
        "size": size,
        "borders": len(names) - 1,
        "cut": len(shapes),
        "refusals": refusals,
        "kilobytes": kilobytes,
        "seconds": round(time.perf_counter() - began, 1),
    }
    tensors = " ".join(str(len(of)) for of in shapes.values())
    sizes = " ".join(f"{sum(of):g}" for of in kilobytes.values())
    head = f"{name:34} {size:3} {len(names) - 1:7} {len(shapes):3}"
    print(f"{head} {tensors:>16} {sizes:>40} {row['seconds']:3.0f}")
    for group, told in refusals.items():
        print(f"    {group}: {told}", flush=True)
    return row


def build(name: str, size: int, options: dict[str, Any]) -> nn.Module:
    """Make a model with dropout, and with stochastic depth where it knows it."""
    configuration = timm.get_pretrained_cfg(name)
    if configuration is not None and configuration.fixed_input_size:
        options = {"img_size": size} | options
    try:
        return timm.create_model(name, num_classes=4, drop_rate=0.3, drop_path_rate=0.2, **options)
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        return timm.create_model(name, num_classes=4, drop_rate=0.3, **options)


if __name__ == "__main__":
    main()
