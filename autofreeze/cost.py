"""What a schedule costs, in work instead of seconds.

The unit is the *forward-equivalent*: one forward pass of one image through the whole model. A backward
pass through a layer costs twice its forward pass (gradients of inputs and of weights). Decisions count
work and never look at a clock, so that the same command gives the same study.
"""

from collections.abc import Sequence

from autofreeze.schedule import Timetable


def step_work(work_shares: Sequence[float], trainable: Sequence[bool], n_images: int) -> float:
    """Work of one training step.

    The backward pass runs from the head down to the lowest column that trains.

    Args:
        work_shares: Share of forward work by column, stem first.
        trainable: Which columns train.
        n_images: Images in the step.

    Returns:
        Forward-equivalents.
    """
    lowest = next(column for column, trains in enumerate(trainable) if trains)
    return n_images * (1 + 2 * sum(work_shares[lowest:]))


def heads_work(work_shares: Sequence[float], n_images: int, heads: int, *, trained: bool) -> float:
    """Work of heads that share their features: all that lies below them is passed once.

    Args:
        work_shares: Share of forward work by column, stem first.
        n_images: Images.
        heads: How many; one costs what a step of a head alone costs.
        trained: Whether a training step is taken; else they predict.

    Returns:
        Forward-equivalents.
    """
    *below, head = work_shares
    return n_images * (sum(below) + heads * head * (3 if trained else 1))


def run_work(
    timetable: Timetable,
    work_shares: Sequence[float],
    *,
    n_train: int,
    n_val: int,
    epochs: int | None = None,
) -> float:
    """Work of a whole run: its training steps, and one validation at the end of each epoch.

    Args:
        timetable: The schedule at this number of steps per epoch.
        work_shares: Share of forward work by column, stem first.
        n_train: Images in the training part.
        n_val: Images in the validation part.
        epochs: How many of its epochs; all when left out.

    Returns:
        Forward-equivalents.
    """
    per_step = n_train / timetable.steps_per_epoch
    passed = timetable.epoch_ends[:epochs]
    work = n_val * float(len(passed))
    start = 0
    for phase, end in zip(timetable.schedule.phases, timetable.ends, strict=True):
        trainable = [lr is not None for lr in phase.lrs]
        end = min(end, passed[-1])
        work += max(end - start, 0) * step_work(work_shares, trainable, 1) * per_step
        start = max(start, end)
    return work
