"""A training loop of your own by a schedule, in several processes: wrapped again whenever others train.

Batches are taken in parts, in mixed precision; gradients are exchanged at the last part.

    torchrun --nproc-per-node 2 docs/examples/ddp_loop.py
"""

from contextlib import nullcontext

import timm
import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from autofreeze.recipes import lp_ft

# In earnest images, a pretrained model, and Schedule.load("best.yaml").
data = TensorDataset(torch.rand(160, 3, 32, 32), torch.arange(160) % 10)

dist.init_process_group("gloo")  # on GPUs nccl
loader = DataLoader(data, 32, sampler=DistributedSampler(data))
model = timm.create_model("test_resnet", num_classes=10)
schedule = lp_ft(("stem", "layer1", "layer2", "layer3", "layer4", "head"), 3, warmup_epochs=1.5, head_lr=4e-3)
bound = schedule.bind(model, steps_per_epoch=len(loader), image_size=32)
scaler = torch.amp.GradScaler("cpu")  # of use with float16, which older GPUs need

for epoch in range(3):
    loader.sampler.set_epoch(epoch)
    for number, (x, y) in enumerate(loader):
        if bound.start_step(epoch * len(loader) + number):
            ddp = DistributedDataParallel(model)
        for rows in torch.arange(len(y)).split(16):
            waits = nullcontext() if rows[-1] == len(y) - 1 else ddp.no_sync()
            with waits, torch.autocast("cpu", torch.bfloat16):
                loss = cross_entropy(ddp(x[rows]), y[rows], reduction="sum") / len(y)
            scaler.scale(loss).backward()
        scaler.step(bound.optimizer)
        scaler.update()
        bound.optimizer.zero_grad()
