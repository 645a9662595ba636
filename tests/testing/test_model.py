"""check_model catches each promise that a network can break."""

import pytest
import torch
from torch import nn

from pdekit.testing import check_model


class Pointwise(nn.Module):
    """Keeps every promise; its children below break one each."""

    resolution_free = True

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.arguments = {"inputs": inputs, "outputs": outputs}
        self.map = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.map(x)


class Transposed(Pointwise):
    def forward(self, x):
        return super().forward(x).movedim(-1, 1)


class Half(Pointwise):
    def forward(self, x):
        return super().forward(x).half()


class Infinite(Pointwise):
    def forward(self, x):
        return super().forward(x) / 0


class Random(Pointwise):
    def forward(self, x):
        return super().forward(x) + torch.rand(())


class BatchStatistics(Pointwise):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class Idle(Pointwise):
    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        self.unused = nn.Parameter(torch.ones(3))


class Complex(Pointwise):
    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        self.phase = nn.Parameter(torch.ones(outputs, dtype=torch.complex64))

    def forward(self, x):
        return (super().forward(x) * self.phase).real


class Mute(Pointwise):
    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        del self.arguments


class Forgetful(Pointwise):
    def __init__(self, inputs: int, outputs: int, width: int = 0):
        super().__init__(inputs, outputs)
        self.map = nn.Sequential(nn.Linear(inputs, width), nn.Linear(width, outputs)) if width else self.map


class Stubborn(Pointwise):
    def forward(self, x):
        return super().forward(x).float()


class Tied(Pointwise):
    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        self.bias = nn.Parameter(torch.zeros(17, 17, 1))

    def forward(self, x):
        return super().forward(x) + self.bias


def test_a_good_model_passes():
    check_model(Pointwise)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Transposed, "the output has shape"),
        (Half, "float32 in gives torch.float16 out"),
        (Infinite, "not finite"),
        (Random, "a second call gives other numbers"),
        (BatchStatistics, "depends on the others of its batch"),
        (Idle, "unused gets no gradient"),
        (Complex, "phase is complex"),
        (Mute, "no dictionary `arguments`"),
        (lambda i, o: Forgetful(i, o, 4), "build a network of other shapes"),
        (Stubborn, "float64 in gives torch.float32 out"),
    ],
)
def test_a_broken_promise_is_named(make, message):
    with pytest.raises(AssertionError, match=message):
        check_model(make)


def test_a_false_claim_of_resolution_freedom_fails():
    with pytest.raises(RuntimeError, match="must match the size"):
        check_model(Tied)
