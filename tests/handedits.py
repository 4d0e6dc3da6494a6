# ruff: noqa: E501 - tables are read by line
"""Native files as a person might edit them: in place, at a path of keys, and what is then told."""

import json
import math
from pathlib import Path

from autofreeze.export.native import NativeFile

VERSION_1 = Path(__file__).parent / "version1"
FILE = NativeFile.load(VERSION_1 / "lp_ft.yaml")
"""What is edited: LP-FT on a small ResNet with six groups."""


def edited(edit):
    """Give the plain data of the file after an edit."""
    data = json.loads(json.dumps(FILE.to_plain()))
    edit(data)
    return data


def _place(data, path):
    *outer, last = (int(key) if key.isdigit() else key for key in path.split("/"))
    for key in outer:
        data = data[key]
    return data, last


def put(path, value):
    """An edit: the value stands at a path, written as ``a/b/0``."""

    def edit(data):
        inside, last = _place(data, path)
        inside[last] = value

    return edit


def drop(path):
    def edit(data):
        inside, last = _place(data, path)
        del inside[last]

    return edit


def rename_everywhere(name, other):
    """The edit of somebody who takes care: a group has another name in the whole schedule."""

    def edit(data):
        table = data["schedule"]
        table["groups"] = [other if group == name else group for group in table["groups"]]
        for phase in table["phases"]:
            phase["lrs"] = {other if group == name else group: lr for group, lr in phase["lrs"].items()}

    return edit


def both(*edits):
    def edit(data):
        for one in edits:
            one(data)

    return edit


GROUPS = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
NOT_A_GROUP = "the backbone has no group"

BAD = {
    # The table
    "unknown cell": (put("schedule/phases/1/lrs/layer9", 1e-3), ["schedule.phases.1.lrs.layer9: unknown; did you mean layer"]),
    "missing cell": (drop("schedule/phases/1/lrs/layer3"), ["schedule.phases.1.lrs.layer3: missing"]),
    "misspelt cell": (
        both(drop("schedule/phases/0/lrs/head"), put("schedule/phases/0/lrs/haed", 1e-3)),
        ["schedule.phases.0.lrs.haed: unknown; did you mean head?", "schedule.phases.0.lrs.head: missing"],
    ),
    "rate as a word": (put("schedule/phases/1/lrs/layer2", "fast"), ["schedule.phases.1.lrs.layer2: got 'fast'; must be a number"]),
    "rate in quotes": (put("schedule/phases/1/lrs/layer2", "1e-3"), ["schedule.phases.1.lrs.layer2: got '1e-3'; must be a number"]),
    "rate of 0": (put("schedule/phases/1/lrs/layer2", 0), ["schedule.phases.1.lrs.layer2: got 0; must be greater than 0"]),
    "everything frozen": (
        put("schedule/phases/0/lrs", dict.fromkeys(GROUPS)),
        ["schedule.phases.0.lrs: every group is frozen; at least one must train"],
    ),
    "everything frozen, in a list": (
        put("schedule/phases/0/lrs", [None] * 6),
        ["schedule.phases.0.lrs: every group is frozen; at least one must train"],
    ),
    "no phases": (put("schedule/phases", []), ["schedule.phases: got none; must be at least one"]),
    "phases gone": (drop("schedule/phases"), ["schedule.phases: missing"]),
    "phases as a word": (put("schedule/phases", "all"), ["schedule.phases: got 'all'; must be a list"]),
    "a phase as a number": (put("schedule/phases/0", 3), ["schedule.phases.0: got 3; must be"]),
    "no schedule": (drop("schedule"), ["schedule: missing"]),
    "schedule as a list": (put("schedule", [1]), ["schedule: got (1,); must be"]),
    "groups gone": (put("schedule/groups", []), ["schedule.groups: got (); must hold at least 1"]),
    "groups as numbers": (put("schedule/groups", [1, 2]), ["schedule.groups.0: got 1; must be text", "schedule.groups.1: got 2; must be text"]),
    "a column too many": (
        both(put("schedule/groups", [*GROUPS[:5], "neck", "head"]), put("schedule/phases/0/lrs/neck", None), put("schedule/phases/1/lrs/neck", None)),
        [f"schedule.groups: {NOT_A_GROUP} neck; known: stem, layer1"],
    ),
    "a group renamed with care": (
        rename_everywhere("layer4", "block4"),
        [f"schedule.groups: {NOT_A_GROUP} block4", "schedule.groups: layer4 is missing, which is a group of the backbone"],
    ),
    "another order": (
        put("schedule/groups", ["layer1", "stem", *GROUPS[2:]]),
        ["schedule.groups: got layer1, stem, layer2, layer3, layer4, head; must be in the backbone's order, stem, layer1,"],
    ),
    "ramp beyond the run": (put("schedule/lr_ramp_epochs", 3), ["schedule.lr_ramp_epochs: got 3; must not exceed the run's 2 epochs"]),
    # The backbone
    "group gone": (
        drop("backbone/groups/layer2"),
        [
            f"schedule.groups: {NOT_A_GROUP} layer2; did you mean",
            "backbone.work_shares: got 6; must be one for each of the 5 groups",
            f"backbone.modes.layer2: {NOT_A_GROUP} layer2",
        ],
    ),
    "groups of the backbone gone": (
        both(drop("backbone/groups"), drop("backbone/modes"), drop("backbone/work_shares")),
        ["backbone.groups: missing", 'backbone.modes: the whole model, "", is missing'],
    ),
    "group without parameters": (put("backbone/groups/layer2", []), ["backbone.groups.layer2: holds no parameter"]),
    "parameter in two groups": (
        put("backbone/groups/head", ["fc.weight", "fc.bias", "layer4.0.conv1.weight"]),
        ["backbone.groups: layer4.0.conv1.weight lies in layer4 and in head; each must lie in one, once"],
    ),
    "parameter twice in a group": (
        put("backbone/groups/head", ["fc.weight", "fc.bias", "fc.bias"]),
        ["backbone.groups: fc.bias lies in head and in head"],
    ),
    "many parameters in two groups": (
        lambda data: data["backbone"]["groups"]["head"].extend(data["backbone"]["groups"]["stem"]),
        ["backbone.groups: conv1.0.weight", "backbone.groups: conv1.1.weight", "backbone.groups: conv1.1.bias", "backbone.groups: 6 more lie in two groups"],
    ),
    "mode of no group": (put("backbone/modes/layer1", "layer9"), [f"backbone.modes.layer1: {NOT_A_GROUP} layer9; did you mean layer"]),
    "mode of the whole gone": (lambda data: data["backbone"]["modes"].pop(""), ['backbone.modes: the whole model, "", is missing']),
    "mode as a number": (put("backbone/modes/layer1", 1), ["backbone.modes.layer1: got 1; must be text"]),
    "another model": (put("task/model", "resnet50"), ["backbone.model: got 'test_resnet', and task.model is 'resnet50'; must be the same"]),
    "another image size": (put("task/image_size", 224), ["backbone.preprocessing.image_size: got 32, and task.image_size is 224; must be the same"]),
    "share of work": (put("backbone/work_shares/0", 1.5), ["backbone.work_shares.0: got 1.5; must be less than or equal to 1"]),
    "digest": (put("backbone/weights_digest", "latest"), ["backbone.weights_digest: got 'latest'; must be"]),
    "layers of timm": (put("backbone/timm_layers", {"stem": [0]}), ["backbone.timm_layers: must have a number for each parameter"]),
    "spared strangers": (put("backbone/spared_by_timm", ["pos_embed"]), ["backbone.spared_by_timm: pos_embed in no group"]),
    # Preprocessing
    "no preprocessing": (drop("backbone/preprocessing"), ["backbone.preprocessing: missing"]),
    "preprocessing of two channels": (put("backbone/preprocessing/mean", [0.5, 0.5]), ["backbone.preprocessing.mean.2: missing"]),
    "preprocessing in words": (put("backbone/preprocessing/std", "imagenet"), ["backbone.preprocessing.std: got 'imagenet'; must be a list"]),
    "std of 0": (put("backbone/preprocessing/std", [0, 1, 1]), ["backbone.preprocessing.std.0: got 0; must be greater than 0"]),
    "mean that is none": (
        both(put("backbone/preprocessing/mean", [math.nan, 0.5, math.inf]), put("task/mean", None)),
        ["backbone.preprocessing.mean: got nan, 0.5, inf; must be finite"],
    ),
    "unknown interpolation": (put("backbone/preprocessing/interpolation", "cubic"), ["backbone.preprocessing.interpolation: got 'cubic'; must"]),
    "image of half a pixel": (put("backbone/preprocessing/image_size", 32.5), ["backbone.preprocessing.image_size: got 32.5; must be a whole number"]),
    "tiny image": (put("backbone/preprocessing/image_size", 4), ["backbone.preprocessing.image_size: got 4; must be greater than or equal to 8"]),
    "crop beyond the image": (put("backbone/preprocessing/crop_pct", 1.2), ["backbone.preprocessing.crop_pct: got 1.2; must be less than"]),
    "resize": (put("backbone/preprocessing/resize", 256), ["backbone.preprocessing.resize: unknown"]),
    # The rest
    "unknown key": (put("curv", []), ["curv: unknown; did you mean curve"]),
    "regime": (both(put("regime/batch_size", "32"), put("regime/optimzer", "sgd")), ["regime.batch_size: got '32'; must be a whole number", "regime.optimzer: unknown"]),
    "switch for a number": (put("seed", True), ["seed: got True; must be a whole number"]),
    "negative seed": (put("seed", -1), ["seed: got -1; must be greater than or equal to 0"]),
    "erase without crops": (put("regime/erase", 0.5), ["regime.erase: got 0.5, and views is flip"]),
    "classes twice": (put("data/classes", ["a", "b", "a"]), ["data.classes: names must differ, got a twice"]),
    "a class too many": (put("data/classes", ["a", "b", "c", "d"]), ["data.class_images: got 3; must be one for each of the 4 classes"]),
    "estimate of what is not confirmed": (
        put("result/estimate", {"mean": 0.5, "seeds": 6}),
        ["result.estimate: given for a schedule that is not confirmed"],
    ),
    "interval beside its mean": (
        both(put("result/estimate", {"mean": 0.5, "low": 0.6, "high": 0.7, "seeds": 6}), put("result/confirmed", True)),
        ["result.estimate.mean: got 0.5; must lie from low to high"],
    ),
    "unknown metric": (put("result/metric", "f2"), ["result.metric: got 'f2'; a search on images knows top1, balanced_accuracy"]),
    "result in words": (put("result", "good"), ["result: got 'good'; must be"]),
    "all at once": (
        both(
            put("seed", "x"), put("schedule/phases/0/lrs/layer9", None), put("regime/momentum", 1), drop("data/name"),
            put("backbone/modes/layer1", "layer9"), put("schedule/curve", "linear"),
        ),
        [
            "schedule.phases.0.lrs.layer9: unknown; did you mean layer", "schedule.curve: got 'linear'; must be 'constant' or 'cosine'",
            "regime.momentum: got 1; must be less than 1", "seed: got 'x'; must be a whole number", "data.name: missing",
            f"backbone.modes.layer1: {NOT_A_GROUP} layer9",
        ],
    ),
}  # fmt: skip

READER_ALONE = {
    "unknown cell", "missing cell", "misspelt cell", "a column too many", "a group renamed with care", "another order", "ramp beyond the run",
    "group gone", "parameter in two groups", "parameter twice in a group", "many parameters in two groups", "mode of no group",
    "another model", "another image size", "layers of timm", "spared strangers", "mean that is none", "a class too many", "classes twice",
    "interval beside its mean",
}  # fmt: skip
"""What a schema cannot say: parts that must agree, and numbers that JSON does not have."""
