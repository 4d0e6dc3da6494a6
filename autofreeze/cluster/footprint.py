"""How much memory of a GPU the largest step of a search takes, measured on a node that has one."""

from dataclasses import replace

import ray
import torch

from autofreeze.binding import Columns
from autofreeze.cluster.here import Here
from autofreeze.cluster.parcel import ImageParcel
from autofreeze.recipes import full
from autofreeze.regime import Regime
from autofreeze.training import fit

SECONDS = 300.0
"""A node may take so long to import, to open the task, and to take a step."""


def step_bytes(parcel: ImageParcel, regime: Regime) -> int:
    """Measure a step of full fine-tuning on a whole GPU of the cluster.

    Args:
        parcel: The task.
        regime: Optimizer and batch size.

    Returns:
        Bytes that torch's allocator held at most; 0 where the node's GPU is none that torch knows.

    Raises:
        ray.exceptions.RayError: The node could not measure it.
    """
    measure = ray.remote(num_gpus=1, num_cpus=0, max_retries=0)(_measure)
    return int(ray.get(measure.remote(parcel, regime), timeout=SECONDS))


def _measure(parcel: ImageParcel, regime: Regime) -> int:
    if not torch.cuda.is_available():
        return 0
    device = torch.device("cuda")
    bench = replace(parcel, task=parcel.task.model_copy(update={"reuse": False})).bench(
        Here(None, "", threads=1, gpus=1.0), device
    )
    split = bench.splits[0]
    few = replace(split, train=split.train[: regime.batch_size], val=split.val[:1])
    model = bench.build_model(0)
    columns = Columns.of(model, bench.backbone.groups)
    schedule = full(bench.backbone.groups.names, 1.0, head_lr=1e-3)
    torch.cuda.reset_peak_memory_stats(device)
    list(fit(model, columns, schedule, regime, bench.examples(few), seed=0, device=device))
    return torch.cuda.max_memory_reserved(device)
