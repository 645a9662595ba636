"""What every network owes training, surrogates and model folders."""

import json
from collections.abc import Callable, Sequence

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

__all__ = ["check_model"]


def check_model(
    make: Callable[[int, int], nn.Module],
    *,
    shape: Sequence[int] = (17, 17),
    channels: tuple[int, int] = (2, 3),
    tolerance: float = 1e-5,
) -> None:
    """Try a network on random fields.

    Checked: the shape, precision and finiteness of its outputs; the same numbers when called again; samples of a batch
    do not see each other; every parameter is real and gets a gradient; float64 works and agrees with float32; its
    ``arguments`` survive JSON and build the same network; its weights survive safetensors bit for bit; another
    resolution works where ``resolution_free`` is set.

    Args:
        make: the network from its numbers of input and output channels.
        shape: points of the grid to try.
        channels: numbers to try.
        tolerance: of comparisons between float32 results, relative to the largest output.

    Raises:
        AssertionError: names the promise that was broken.

    Example:
        >>> from functools import partial
        >>> from pdekit.nn import FNO
        >>> check_model(partial(FNO, basis="sine", modes=4, width=8, layers=2))
    """
    inputs, outputs = channels
    model = make(inputs, outputs).eval()
    x = torch.randn(3, *shape, inputs)
    y = model(x)
    assert y.shape == (3, *shape, outputs), f"the output has shape {tuple(y.shape)}, not {(3, *shape, outputs)}"
    assert y.dtype == torch.float32, f"float32 in gives {y.dtype} out"
    assert bool(torch.isfinite(y).all()), "the output is not finite"
    assert torch.equal(model(x), y), "a second call gives other numbers"
    alone = torch.cat([model(x[i : i + 1]) for i in range(3)])
    assert _near(alone, y, tolerance), "a sample's output depends on the others of its batch"

    model.zero_grad()
    y.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert not parameter.is_complex(), f"{name} is complex; keep real pairs, which optimisers and files understand"
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert bool(torch.isfinite(parameter.grad).all()), f"the gradient of {name} is not finite"

    arguments = getattr(model, "arguments", None)
    assert isinstance(arguments, dict), "there is no dictionary `arguments` to build the network from"
    twin = type(model)(**json.loads(json.dumps(arguments))).eval()
    shapes = {name: values.shape for name, values in model.state_dict().items()}
    again = {name: values.shape for name, values in twin.state_dict().items()}
    assert again == shapes, "`arguments` build a network of other shapes"
    twin.load_state_dict(load(save({name: values.contiguous() for name, values in model.state_dict().items()})))
    assert torch.equal(twin(x), y), "the weights do not survive safetensors"

    exact = twin.double()(x.double())
    assert exact.dtype == torch.float64, f"float64 in gives {exact.dtype} out"
    assert _near(y.double(), exact, 100 * tolerance), "float32 and float64 disagree"

    if getattr(model, "resolution_free", False):
        closed = getattr(model, "closed", (True,) * len(shape))
        finer = [2 * n - 1 if both else 2 * n for n, both in zip(shape, closed, strict=True)]
        found = model(torch.randn(2, *finer, inputs)).shape
        assert found == (2, *finer, outputs), f"at {finer} points the output has shape {tuple(found)}"


def _near(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return bool((a - b).abs().max() <= tolerance * b.abs().max())
