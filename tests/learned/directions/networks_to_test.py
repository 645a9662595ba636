"""Networks that were never trained, or that are of no use."""

import torch

from pdekit.learned.directions import DirectionNetwork


def randomised(network, std=0.3):
    """The network with normally distributed weights."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=std)
    return network


class Broken(DirectionNetwork):
    """Proposes directions of one kind.

    Args:
        how: which.
    """

    def __init__(self, how):
        super().__init__()
        self.arguments, self.dim, self.how = {"how": how}, 2, how
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def geometry(self, A):
        return None

    def forward(self, r, geometry):
        if self.how == "nothing":
            return torch.zeros_like(r)
        if self.how == "not a number":
            return torch.where(r > 0, torch.nan, r)
        if self.how == "far too large":
            return torch.inf * r
        if self.how == "across the residual":
            noise = torch.randn_like(r)
            return noise - r * (noise * r).sum((-2, -1), keepdim=True) / (r * r).sum((-2, -1), keepdim=True)
        return -r if self.how == "backwards" else r
