"""What a process does that is not the first of its training: its share of every step, silently.

The first process finds out everything that one process would, and hands on what a training begins with.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal

import torch

from adaptertune_deploy.core.errors import AtdError, UsageError
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import reload_backbone
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.loop.fit import fit
from adaptertune_deploy.train.parallel.group import Group, LostError
from adaptertune_deploy.train.parallel.launch import Launch, on_signals
from adaptertune_deploy.train.run import Run
from adaptertune_deploy.train.shared.work import Setup, Work


def help_train(launch: Launch) -> int:
    """Take part until the first process ends; returns the exit code.

    Signals to stop are the first process's to follow: it ends between two steps, and its connections with it. Before
    there is one they end this process without a word.
    """
    on_signals(signal.SIG_DFL)
    group: Group | None = None
    try:
        group = Group(launch)
        on_signals(signal.SIG_IGN)
        run = _opened(group.receive(), group)
        while isinstance(work := group.receive(), Work):
            _take_part(run, work, group)
    except LostError:
        return 1
    except Exception as error:
        if group is None:
            raise
        line = str(error) if isinstance(error, AtdError) else f"{type(error).__name__}: {error}"
        with contextlib.suppress(RuntimeError):
            group.fail(" ".join(line.split()))
        return 1
    group.close()
    return 0


def _opened(setup: Setup, group: Group) -> Run:
    device = _device(setup.run.device, group)
    backbone = reload_backbone(setup.spec, setup.weights, allow_random=setup.allow_random)
    backbone.module.to(device.torch)
    return dataclasses.replace(setup.run, backbone=backbone, device=device, group=group).with_views()


def _device(first: Device, group: Group) -> Device:
    """Return this process's device: of the first one's kind, a GPU by the place on this machine."""
    if first.torch.type != "cuda":
        return first
    if group.local_rank >= torch.cuda.device_count():
        raise UsageError(f"process {group.local_rank} of this machine has no GPU; it has {torch.cuda.device_count()}")
    return Device(torch.device("cuda", group.local_rank), first.precision)


def _take_part(run: Run, work: Work, group: Group) -> None:
    run = run.with_rank(work.recipe.rank)
    model = AdaptedViT(run.backbone, run.task).to(run.device.torch)
    with torch.no_grad():
        for name, parameter in model.trainable().items():
            parameter.copy_(torch.from_numpy(work.tensors[name]))
    begun = work.start.step if work.start else 0
    batches = run.batches(work.rows, work.steps, work.recipe.seed, begun)
    with run.device.fast_steps(run.backbone, model):
        fit(model, batches, work.recipe, run.device, work.weights, start=work.start, group=group)
