"""One training step of a Fourier neural operator, beside neuraloperator's of the same size."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from pdekit.bench.harness import Benchmark, Claim, Peer, Session
from pdekit.bench.timing import alternate
from pdekit.nn import FNO

__all__ = ["BENCHMARK"]

POINTS, BATCH, WIDTH, MODES, LAYERS = 64, 16, 32, 12, 4
SAME = "pdekit FNO, same blocks"


def measure(session: Session) -> None:
    for seed in range(session.seeds):
        torch.manual_seed(seed)
        peer, twin = _peer(), _twin()
        difference = _copy_weights(peer, twin)
        ours = {
            SAME: twin,
            "pdekit FNO, classic blocks": FNO(1, 1, modes=MODES, width=WIDTH, layers=LAYERS),
            "pdekit FNO, sine basis": FNO(1, 1, modes=MODES, width=WIDTH, layers=LAYERS, basis="sine"),
        }
        inputs, targets = torch.randn(2, BATCH, POINTS, POINTS, 1)
        channels_first = [x.movedim(-1, 1).contiguous() for x in (inputs, targets)]
        steps = {"neuraloperator FNO": _step(peer, *channels_first)}
        steps |= {name: _step(model, inputs, targets) for name, model in ours.items()}
        seconds = alternate(steps, repeats=5 if session.quick else 40)
        models: Mapping[str, nn.Module] = {"neuraloperator FNO": peer, **ours}
        for name, model in models.items():
            session.row(
                seed=seed,
                model=name,
                parameters=_count(model),
                milliseconds=1e3 * seconds[name],
                output_difference=difference if model is twin else None,
            )
        session.record("fno_step.speedup", seconds["neuraloperator FNO"] / seconds[SAME], seed=seed)
        session.record("fno_step.difference", difference, seed=seed)


def _peer() -> nn.Module:
    from neuralop.models import FNO as Peer

    # Their n_modes counts both signs, so 24 are the wave numbers -12..11 and, on the last axis, 0..12.
    return Peer(n_modes=(2 * MODES,) * 2, in_channels=1, out_channels=1, hidden_channels=WIDTH, n_layers=LAYERS)


def _twin() -> FNO:
    """Their network in ours: all of their wave numbers and +12, which they leave out."""
    return FNO(1, 1, modes=MODES, width=WIDTH, layers=LAYERS, lifting=2 * WIDTH, projection=2 * WIDTH,
               channel_mlp=WIDTH // 2)  # fmt: skip


@torch.no_grad()
def _copy_weights(peer: nn.Module, twin: Any) -> float:
    """Give our network their weights; the largest difference of the outputs, relative to the largest output."""
    theirs = dict(peer.state_dict())

    def linear(to: nn.Linear, weight: str, bias: str) -> None:
        to.weight.copy_(theirs[weight].flatten(1))
        to.bias.copy_(theirs[bias].flatten())

    def pair(to: Any, name: str) -> None:
        for number, layer in enumerate((to[0], to[2])):
            linear(layer, f"{name}.fcs.{number}.weight", f"{name}.fcs.{number}.bias")

    pair(twin.lifting, "lifting")
    pair(twin.projection, "projection")
    for number, block in enumerate(twin.blocks):
        weight = theirs[f"fno_blocks.convs.{number}.weight.tensor"]  # (in, out, -12..11, 0..12), complex
        ours = torch.zeros_like(block.convolution.weight)
        for row, wave in enumerate(chain(range(MODES + 1), range(-1, -MODES - 1, -1))):
            if wave < MODES:
                ours[row] = torch.view_as_real(weight[:, :, wave + MODES]).permute(2, 3, 0, 1)
        block.convolution.weight.copy_(ours)
        linear(block.skip, f"fno_blocks.fno_skips.{number}.conv.weight", f"fno_blocks.convs.{number}.bias")
        pair(block.channel_mlp, f"fno_blocks.channel_mlp.{number}")
        block.gate.copy_(theirs[f"fno_blocks.channel_mlp_skips.{number}.weight"].flatten())
    x = torch.randn(2, POINTS, POINTS, 1)
    expected = peer(x.movedim(-1, 1)).movedim(1, -1)
    return float((twin(x) - expected).abs().max() / expected.abs().max())


def _step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        (model(inputs) - targets).square().mean().backward()
        optimizer.step()

    return step


def _count(model: nn.Module) -> int:
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())


BENCHMARK = Benchmark(
    "fno-step",
    claims=(
        Claim("fno_step.speedup", ">=", 1.3, "median seconds of a step, theirs over ours, same blocks"),
        Claim("fno_step.difference", "<=", 1e-5, "largest difference of outputs with the same weights, relative"),
    ),
    measure=measure,
    peers=(Peer("neuralop", "neuraloperator==2.0.0"),),
    notes=(
        f"Forward, backward and AdamW at {POINTS} x {POINTS}, width {WIDTH}, {MODES} modes, batch {BATCH}, {LAYERS} "
        "blocks, float32, alternating step by step with the same threads.",
        "The two networks compared are the same function: their weights are copied into ours and the outputs agree. "
        "Ours holds one wave number more on the first axis, hence 4 % more parameters.",
        "Real numbers are counted as parameters, a complex one as two.",
    ),
)
