"""What the server that victims are forked from has loaded before."""

import timm  # noqa: F401
import torch

import autofreeze.api
import autofreeze.cli
import autofreeze.retraining
import autofreeze.searching  # noqa: F401

torch.set_num_threads(1)
