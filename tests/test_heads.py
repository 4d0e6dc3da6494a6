"""Heads side by side: each is what it would be alone."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autofreeze.binding import make_optimizer
from autofreeze.heads import HeadStack
from autofreeze.regime import Regime

CLASSES, WIDTH = 4, 24
BATCHES = (9, 9, 8, 8, 8)  # uneven, as an epoch cuts them
BALANCED = torch.tensor([0.4, 1.2, 2.0, 1.0])
CPU = torch.device("cpu")


def data(*, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    for size in itertools.cycle(BATCHES):
        labels = torch.from_numpy(rng.choice(CLASSES, size, p=[0.6, 0.25, 0.1, 0.05]))
        yield scale * torch.from_numpy(rng.normal(size=(size, WIDTH)).astype(np.float32)), labels


def layer(bias=True):
    torch.manual_seed(7)
    return nn.Linear(WIDTH, CLASSES, bias=bias)


def alone(regime, weights, cell, steps, *, bias=True, curve=lambda step: 1.0):
    """One head by autograd, torch's loss and its optimizer, as ``fit`` trains it."""
    head = layer(bias)
    optimizer = make_optimizer((tuple(head.parameters()),), regime)
    losses, gradients = [], []
    for step, (features, labels) in zip(range(steps), data(), strict=False):
        for entry in optimizer.param_groups:
            entry["lr"] = cell * curve(step)
        loss = F.cross_entropy(head(features), labels, weight=weights, label_smoothing=regime.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        gradients.append(float(nn.utils.get_total_norm([p.grad for p in head.parameters()])))
        optimizer.step()
        losses.append(loss.item())
    return head, losses, gradients


def together(regimes, weights, cells, steps, *, bias=True, curve=lambda step: 1.0):
    stack = HeadStack(layer(bias), regimes, weights, CPU)
    taken = [
        stack.step(features, labels, torch.tensor(cells) * curve(step))
        for step, (features, labels) in zip(range(steps), data(), strict=False)
    ]
    return stack, taken


def settings(optimizer):
    """Heads that differ in everything in which the heads of a sweep may."""
    regimes = [
        Regime(optimizer=optimizer, weight_decay=decay, label_smoothing=smoothing, class_weights=weights)
        for decay, smoothing, weights in itertools.product((0.0, 0.3), (0.0, 0.2), ("none", "balanced"))
    ]
    weights = [BALANCED if regime.class_weights == "balanced" else None for regime in regimes]
    scale = 30 if optimizer == "sgd" else 1
    return regimes, weights, [scale * 1e-3 * 1.7**turn for turn in range(len(regimes))]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_head_is_what_it_would_be_alone(optimizer, bias):
    regimes, weights, cells = settings(optimizer)

    def cosine(step):
        return 0.5 * (1 + np.cos(np.pi * step / 40))

    stack, taken = together(regimes, weights, cells, 40, bias=bias, curve=cosine)
    found = layer(bias)
    for place, (regime, weight, cell) in enumerate(zip(regimes, weights, cells, strict=True)):
        head, losses, gradients = alone(regime, weight, cell, 40, bias=bias, curve=cosine)
        # The first step tightly; later ones carry the rounding of those before.
        assert float(taken[0].loss[place]) == pytest.approx(losses[0], rel=1e-6)
        assert float(taken[0].norm[place]) == pytest.approx(gradients[0], rel=1e-6)
        assert [float(one.loss[place]) for one in taken] == pytest.approx(losses, rel=1e-4)
        assert [float(one.norm[place]) for one in taken] == pytest.approx(gradients, rel=1e-3)
        stack.put(place, found)
        torch.testing.assert_close(found.weight, head.weight, rtol=1e-3, atol=2e-5)
        if bias:
            torch.testing.assert_close(found.bias, head.bias, rtol=1e-3, atol=2e-5)


def test_plain_heads_take_a_shorter_way_to_the_same(monkeypatch):
    regimes, cells = [Regime(weight_decay=0.0)] * 3, [1e-3, 3e-3, 1e-2]
    _, short = together(regimes, [None] * 3, cells, 10)
    _, long = together(regimes, [torch.ones(CLASSES)] * 3, cells, 10)
    for one, other in zip(short, long, strict=True):
        torch.testing.assert_close(one.loss, other.loss)
        torch.testing.assert_close(one.norm, other.norm)
        assert torch.equal(one.hits, other.hits)


def test_hits_are_counted_before_the_step():
    regimes, weights, cells = settings("adamw")
    stack, taken = together(regimes, weights, cells, 1)
    features, labels = next(data())
    right = int((layer()(features).argmax(1) == labels).sum())
    assert taken[0].hits.tolist() == [right] * len(stack)


def test_predictions_are_those_of_each_head():
    regimes, weights, cells = settings("adamw")
    stack, _ = together(regimes, weights, cells, 12)
    features, labels = next(data(seed=5))
    predicted, losses = stack.predict(features, labels)
    head = layer()
    for place in range(len(stack)):
        stack.put(place, head)
        logits = head(features)
        assert torch.equal(predicted[:, place], logits.argmax(1))
        torch.testing.assert_close(
            losses[:, place].float(), F.cross_entropy(logits, labels, reduction="none")
        )


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_head_that_diverges_harms_no_other(optimizer):
    regimes, weights, cells = settings(optimizer)
    quiet, _ = together(regimes[1:], weights[1:], cells[1:], 15)
    noisy, taken = together(regimes, weights, [float("inf"), *cells[1:]], 15)
    assert not torch.isfinite(taken[-1].loss[0])
    one, other = layer(), layer()
    for place in range(len(quiet)):
        quiet.put(place, one)
        noisy.put(place + 1, other)
        torch.testing.assert_close(one.weight, other.weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_heads_that_are_left_go_on_as_before(optimizer):
    regimes, weights, cells = settings(optimizer)
    whole, _ = together(regimes, weights, cells, 12)
    stack = HeadStack(layer(), regimes, weights, CPU)
    kept = [1, 4, 6]
    for step, (features, labels) in zip(range(12), data(), strict=False):
        if step == 6:
            stack.select(kept)
        rates = torch.tensor(cells if step < 6 else [cells[place] for place in kept])
        stack.step(features, labels, rates)
    assert len(stack) == 3
    one, other = layer(), layer()
    for place, origin in enumerate(kept):
        stack.put(place, one)
        whole.put(origin, other)
        torch.testing.assert_close(one.weight, other.weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_stack_goes_on_from_its_state_to_the_bit(optimizer):
    regimes, weights, cells = settings(optimizer)
    batches = [batch for batch, _ in zip(data(), range(8), strict=False)]
    rates = torch.tensor(cells)

    def run(stack, part):
        return [stack.step(*batch, rates).loss for batch in part]

    whole = HeadStack(layer(), regimes, weights, CPU)
    expected = run(whole, batches)
    first = HeadStack(layer(), regimes, weights, CPU)
    run(first, batches[:4])
    second = HeadStack(layer(), regimes, weights, CPU)
    second.restore(first.state())
    assert all(torch.equal(*pair) for pair in zip(run(second, batches[4:]), expected[4:], strict=True))
