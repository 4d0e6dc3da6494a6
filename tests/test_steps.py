"""One optimizer step: what it does where a batch does not fit the memory."""

import numpy as np
import pytest
import torch
from torch import nn

from autofreeze import recipes
from autofreeze.binding import Columns
from autofreeze.engine import Engine
from autofreeze.errors import ConfigError
from autofreeze.regime import Regime
from autofreeze.training import fit


@pytest.fixture
def short_of_memory():
    """``short_of_memory(model, most)``: from now on a pass of more images through its first layer runs out of
    memory, with the error that CUDA raises."""

    def limit(model, most):
        first = next(module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear))
        tried = []

        def refuse(_, inputs):
            tried.append(len(inputs[0]))
            if torch.is_grad_enabled() and len(inputs[0]) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")

        first.register_forward_pre_hook(refuse)
        return tried

    return limit


@pytest.fixture
def train(backbone, examples):
    """``train(name, most, …)``: the records and the tensors of a full run of one epoch."""

    def run(name, limit=None, *, regime=None, schedule=None, seed=0, data=None, **fitting):
        loaded, data = backbone(name), data or examples()
        model = loaded.build(data.n_classes, seed=0)
        if limit:
            limit(model)
        groups = loaded.groups.names
        schedule = schedule or recipes.full(groups, 1, head_lr=1e-3, backbone_ratio=1.0)
        regime = regime or Regime(batch_size=8, optimizer="sgd")
        records = list(
            fit(model, Columns.of(model, loaded.groups), schedule, regime, data, seed=seed, **fitting)
        )
        return records, {key: value.clone() for key, value in model.state_dict().items()}

    return run


@pytest.mark.parametrize("most", [7, 3, 1])
@pytest.mark.parametrize(
    "given",
    [{}, {"label_smoothing": 0.2}, {"class_weights": "balanced", "label_smoothing": 0.1}],
    ids=["plain", "smoothed", "weighted"],
)
def test_a_batch_in_parts_takes_the_step_of_the_whole_batch(train, short_of_memory, examples, given, most):
    data = examples(labels=np.array([0, 0, 0, 0, 1, 2] * 6))
    regime = Regime(batch_size=8, optimizer="sgd", **given)
    whole = train("test_vit", data=data, regime=regime)
    parts = train("test_vit", lambda model: short_of_memory(model, most), data=data, regime=regime)
    assert parts[0][-1].train_loss == pytest.approx(whole[0][-1].train_loss, rel=1e-5)
    assert parts[0][-1].train_top1 == whole[0][-1].train_top1
    assert parts[0][-1].grad_norms == pytest.approx(whole[0][-1].grad_norms, rel=1e-3)
    for key, value in whole[1].items():
        torch.testing.assert_close(parts[1][key], value, rtol=1e-3, atol=1e-5, msg=key)
    assert parts[0][-1].comparable


def test_batches_are_halved_until_they_fit_and_stay_so(train, short_of_memory):
    tried = []
    train("test_vit", lambda model: tried.append(short_of_memory(model, 3)))
    trained = [n for n in tried[0] if n != 12]  # validation passes whole
    assert trained[:2] == [8, 4]
    assert set(trained[2:]) == {2}


def test_where_batchnorm_follows_parts_the_run_is_not_comparable(train, short_of_memory):
    records, _ = train("test_resnet", lambda model: short_of_memory(model, 4))
    assert [record.comparable for record in records] == [False]
    assert all(record.comparable for record in train("test_resnet")[0])


def test_where_batchnorm_stands_still_it_stays_comparable(train, short_of_memory, backbone):
    kept = Regime(batch_size=8, norm="eval")
    records, _ = train("test_resnet", lambda model: short_of_memory(model, 4), regime=kept)
    assert all(record.comparable for record in records)
    head = recipes.linear_probe(backbone().groups.names, 1, head_lr=1e-3)
    records, _ = train("test_resnet", lambda model: short_of_memory(model, 4), schedule=head)
    assert all(record.comparable for record in records)


def test_a_run_that_goes_on_later_takes_parts_at_once_and_knows_that_it_is_not_comparable(
    short_of_memory, backbone, examples, tmp_path
):
    loaded, data, file = backbone(), examples(), tmp_path / "run.pt"
    schedule = recipes.full(loaded.groups.names, 2, head_lr=1e-3, backbone_ratio=1.0)

    def begin():
        model = loaded.build(3, seed=0)
        columns = Columns.of(model, loaded.groups)
        tried = short_of_memory(model, 4)
        return tried, fit(model, columns, schedule, Regime(batch_size=8), data, seed=0, checkpoint=file)

    _, records = begin()
    next(records)
    records.close()
    tried, records = begin()
    assert [record.comparable for record in records] == [False, False]
    assert 8 not in tried


def test_an_image_that_does_not_fit_alone_is_an_error(train, short_of_memory):
    with pytest.raises(torch.OutOfMemoryError):
        train("test_vit", lambda model: short_of_memory(model, 0))


def test_features_are_handed_out_again_after_a_try_that_wrote_to_them(backbone, examples, tmp_path):
    """A suffix may work in place; the second try must not start from what the first one left."""
    loaded, data = backbone("test_vit"), examples()
    regime = Regime(batch_size=8, optimizer="sgd")
    schedule = recipes.gradual(loaded.groups.names, 1, head_lr=1e-3, unfreeze_depth=1)
    ends = []
    for spoil in (False, True):
        engine = Engine(loaded, 3, torch.device("cpu"))
        model = loaded.build(3, seed=0)
        suffix_of = engine.cutter.suffix

        def spoiling(model, boundary, suffix_of=suffix_of):
            inner = suffix_of(model, boundary)

            def forward(*inputs):
                if torch.is_grad_enabled() and len(inputs[0]) > 4:
                    for one in inputs:
                        one.zero_()
                    raise torch.OutOfMemoryError("CUDA out of memory")
                return inner(*inputs)

            return forward

        if spoil:
            engine.cutter.suffix = spoiling
        records = list(
            fit(model, Columns.of(model, loaded.groups), schedule, regime, data, seed=0, engine=engine)
        )
        ends.append(records[-1])
    assert ends[1].train_loss == pytest.approx(ends[0].train_loss, rel=1e-5)


def test_a_batch_of_one_image_that_batchnorm_would_follow_is_told_with_the_way_out(train):
    with pytest.raises(ConfigError, match=r"a batch has one image.*norm: eval"):
        train("test_resnet", regime=Regime(batch_size=1))
    records, _ = train("test_resnet", regime=Regime(batch_size=1, norm="eval"))
    assert records[-1].last
