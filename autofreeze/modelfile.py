"""A trained model as files: weights, labels and preprocessing, as timm reads them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from autofreeze.documents import write_text
from autofreeze.preprocessing import Preprocessing


def save_model(
    model: torch.nn.Module,
    path: Path,
    *,
    architecture: str,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
) -> None:
    """Write a model as safetensors, its labels and preprocessing in the metadata and in a JSON beside it.

    ``timm.create_model(architecture, num_classes=…, checkpoint_path=path)`` loads it.

    Args:
        model: The trained model.
        path: The ``.safetensors`` file; ``.json`` beside it gets the same metadata.
        architecture: timm's name of the model.
        classes: Label names in the order of the outputs.
        preprocessing: What the model expects.
    """
    size = preprocessing.image_size
    configuration: dict[str, Any] = {
        "architecture": architecture,
        "num_classes": len(classes),
        "label_names": list(classes),
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop_pct,
            "num_classes": len(classes),
        },
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in configuration.items()
    }
    temporary = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, temporary, metadata=metadata)
    temporary.replace(path)
    write_text(path.with_suffix(".json"), json.dumps(configuration, indent=1) + "\n")
