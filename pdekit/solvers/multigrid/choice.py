"""Which hierarchy each network of a batch gets: the same rules as the compiled kernels, from tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pdekit.core.checks import is_fake
from pdekit.kernels.plan import GALERKIN_CONTRAST, Level, plan_levels

__all__ = ["Choice", "choose"]


@dataclass(frozen=True)
class Choice:
    """Lattices and kind of one hierarchy."""

    plan: tuple[Level, ...]
    galerkin: bool
    singular: bool


def choose(faces: Sequence[Tensor], sink: Tensor | None, periodic: Sequence[bool], coarsening: str) -> list[Choice]:
    """The choice for each network of a batch; waits for the device once.

    Args:
        faces: ``(batch, n_0, .., n_k + 1, ..)`` by axis.
        sink: ``(batch, *shape)`` or None.
        periodic: by axis.
        coarsening: "averaged", "galerkin" or "auto".

    Returns:
        One choice a network. Tensors without numbers count as unit conductances between grounded sides.
    """
    dim = len(faces)
    shape = tuple(faces[0].shape[1 + k] - (k == 0) for k in range(dim))
    batch = faces[0].shape[0]
    if is_fake(faces[0]):
        plan = plan_levels(shape, periodic, [(not ring, not ring) for ring in periodic], [1.0] * dim)
        return [Choice(plan, coarsening == "galerkin", False)] * batch
    facts, ground = [], torch.zeros(batch, dtype=faces[0].dtype, device=faces[0].device)
    for k, face in enumerate(faces):
        axis = 1 + k
        low, high = face.select(axis, 0).flatten(1).abs().sum(1), face.select(axis, -1).flatten(1).abs().sum(1)
        if periodic[k]:
            low, high = torch.zeros_like(low), torch.zeros_like(high)
        ground = ground + low + high
        between = face.narrow(axis, 1, shape[k] - 1).flatten(1)
        if between.shape[1]:
            least, most = between.amin(1), between.amax(1)
            contrast = torch.where(most > 0, most / least, 1)
        else:
            contrast = torch.ones_like(low)
        facts += [face.flatten(1).mean(1), low, high, contrast]
    facts.append(ground if sink is None else ground + sink.flatten(1).abs().sum(1))
    choices = []
    for row in torch.stack(facts, 1).tolist():
        means, lows, highs, contrasts = (row[i : 4 * dim : 4] for i in range(4))
        grounded = [(a > 0, b > 0) for a, b in zip(lows, highs, strict=True)]
        galerkin = max(contrasts) > GALERKIN_CONTRAST if coarsening == "auto" else coarsening == "galerkin"
        choices.append(Choice(plan_levels(shape, periodic, grounded, means), galerkin, not row[-1] > 0))
    return choices
