"""An Optuna objective of your own, with a pruner that waits for the unfreeze.

Trials that train their head alone for long are not held against those that thaw at once.

    python docs/examples/optuna_pruner.py
"""

import optuna
import timm
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

from autofreeze import MedianAfterUnfreezePruner

images, labels = torch.tensor(load_digits().images[:, None]).float() / 16, torch.tensor(load_digits().target)


def objective(trial: optuna.Trial) -> float:
    warmup = trial.suggest_int("warmup_epochs", 0, 3)
    trial.set_user_attr("unfreeze_epoch", warmup)  # what the pruner reads
    model = timm.create_model("test_resnet", num_classes=10, in_chans=1)  # pretrained, in earnest
    for epoch in range(6):
        model.train(epoch >= warmup)  # a frozen BatchNorm stands still in eval mode alone
        if epoch in (0, warmup):
            optimizer = torch.optim.AdamW((model if epoch == warmup else model.get_classifier()).parameters())
        for batch in torch.randperm(480).split(32):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        accuracy = (model.eval()(images[480:680]).argmax(1) == labels[480:680]).float().mean().item()
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


study = optuna.create_study(direction="maximize", pruner=MedianAfterUnfreezePruner(epochs=6, n_val=200))
study.optimize(objective, n_trials=10)
