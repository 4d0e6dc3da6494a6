"""A training loop of your own by a schedule: batches taken in parts, and resuming.

Writes its state after each epoch; killed and started again, it goes on from there, to the same bits.

    python docs/examples/own_loop.py state.pt
"""

import sys
from pathlib import Path

import timm
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy, interpolate
from torch.utils.data import DataLoader, TensorDataset

from autofreeze.recipes import lp_ft

images = interpolate(torch.tensor(load_digits().images[:400, None]).float() / 16, 32).expand(-1, 3, -1, -1)
loader = DataLoader(TensorDataset(images, torch.tensor(load_digits().target[:400])), 64, shuffle=True)

# In earnest the model is pretrained, and the schedule is Schedule.load("best.yaml").
model = timm.create_model("test_resnet", num_classes=10)
schedule = lp_ft(("stem", "layer1", "layer2", "layer3", "layer4", "head"), 3, warmup_epochs=1, head_lr=4e-3)
bound = schedule.bind(model, steps_per_epoch=len(loader), image_size=32)

state = {"epochs": 0}
if Path(sys.argv[1]).exists():
    state = torch.load(sys.argv[1])
    model.load_state_dict(state["model"])
    bound.optimizer.load_state_dict(state["optimizer"])
for epoch in range(state["epochs"], 3):
    torch.manual_seed(epoch)
    for number, (x, y) in enumerate(loader):
        bound.start_step(epoch * len(loader) + number)
        for part, labels in zip(x.split(16), y.split(16), strict=True):
            loss = cross_entropy(model(part), labels, reduction="sum") / len(y)
            loss.backward()
        bound.optimizer.step()
        bound.optimizer.zero_grad()
    torch.save(
        {"epochs": epoch + 1, "model": model.state_dict(), "optimizer": bound.optimizer.state_dict()},
        sys.argv[1],
    )
