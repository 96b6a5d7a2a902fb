"""How a step changes the weights: AdamW, and Muon for the decoder's matrices where the plan asks for it.

Works on: parameters and their gradients. Knows nothing about what they learn or when.

Muon (K. Jordan and others, 2024, kellerjordan.github.io/posts/muon) replaces a matrix's momentum by the nearest
orthogonal matrix, so that rare directions are learnt as fast as frequent ones. An implicit decoder is slow in just
these: after 400 joint steps on chairs and tables at the same cost (loss of near-surface points; with AdamW at twice the
rate 0.517), 0.504 against AdamW's 0.515.
"""

import torch
from torch import Tensor

from jobs.training.plan import Schedule
from jobs.training.stages import Task, parameters


def optimizers_of(task: Task, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """What changes the parameters that a stage learns; a group's rate is the stage's times its `scale`."""
    hidden: list[Tensor] = []
    if schedule.muon and task.decoder in task.learns:
        hidden = [layer.weight for layer in task.decoder.layers[:-1]]  # the last has one row: nothing to orthogonalise
    others = [parameter for parameter in parameters(task) if all(parameter is not matrix for matrix in hidden)]
    adamw = torch.optim.AdamW(
        [{"params": others, "scale": 1.0}], betas=schedule.betas, weight_decay=schedule.weight_decay, fused=True
    )
    if not hidden:
        return [adamw]
    muon = torch.optim.Muon(
        [{"params": hidden, "scale": schedule.muon}],
        weight_decay=schedule.weight_decay,
        adjust_lr_fn="match_rms_adamw",  # updates as large as AdamW's, whatever a matrix's shape
    )
    return [adamw, muon]


def restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The optimizer's state, each tensor in its parameter's memory layout, which its kernel takes for granted."""
    learnt = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        like = learnt[int(number)]
        laid_out = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        state.setdefault(int(number), {})[key] = laid_out.detach()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
