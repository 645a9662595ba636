"""The normaliser: exact statistics, frozen afterwards, part of the model's state."""

import pytest
import torch
from safetensors.torch import load, save

from pdekit.core.errors import InputError, PdekitError
from pdekit.train.normaliser import Normaliser


def data():
    inputs = torch.randn(8, 5, 6, 2) * torch.tensor([2.0, 0.1]) + torch.tensor([7.0, -3.0])
    return inputs, torch.randn(8, 5, 6, 1) * 1e-3 + 0.05


def test_channels_get_mean_zero_and_deviation_one():
    inputs, outputs = data()
    normaliser = Normaliser(2, 1).fit(inputs, outputs)
    encoded = normaliser.encode(inputs).double().flatten(0, -2)
    assert encoded.mean(0).abs().max() < 1e-5
    assert (encoded.std(0, correction=0) - 1).abs().max() < 1e-5
    assert torch.allclose(normaliser.decode((outputs - normaliser.output_mean) / normaliser.output_scale), outputs)


def test_it_is_resolution_free():
    inputs, outputs = data()
    normaliser = Normaliser(2, 1).fit(inputs, outputs)
    assert normaliser.encode(torch.ones(3, 9, 9, 9, 2)).shape == (3, 9, 9, 9, 2)


def test_a_constant_channel_is_only_shifted():
    normaliser = Normaliser(1, 1).fit(torch.full((4, 3, 1), 5.0), torch.zeros(4, 3, 1))
    assert torch.equal(normaliser.encode(torch.full((1, 3, 1), 6.0)), torch.ones(1, 3, 1))


def test_use_before_fit_is_refused():
    with pytest.raises(PdekitError, match="not fitted; call fit"):
        Normaliser(1, 1).encode(torch.ones(1, 3, 1))
    with pytest.raises(PdekitError, match="not fitted"):
        Normaliser(1, 1).decode(torch.ones(1, 3, 1))


def test_a_second_fit_is_refused():
    normaliser = Normaliser(2, 1).fit(*data())
    with pytest.raises(PdekitError, match="fitted and frozen"):
        normaliser.fit(*data())


def test_its_state_travels_by_safetensors():
    normaliser = Normaliser(2, 1).fit(*data())
    twin = Normaliser(2, 1)
    twin.load_state_dict(load(save(normaliser.state_dict())))
    x = torch.randn(2, 3, 2)
    assert torch.equal(twin.encode(x), normaliser.encode(x))
    with pytest.raises(PdekitError, match="frozen"):
        twin.fit(*data())


def test_an_unfitted_state_stays_unfitted():
    twin = Normaliser(1, 1)
    twin.load_state_dict(Normaliser(1, 1).state_dict())
    with pytest.raises(PdekitError, match="not fitted"):
        twin.encode(torch.ones(1, 3, 1))


def test_wrong_channels_and_bad_values_are_named():
    inputs, outputs = data()
    with pytest.raises(InputError, match="The inputs have 2 channels; this normaliser has 3"):
        Normaliser(3, 1).fit(inputs, outputs)
    inputs[3, 2, 1, 1] = float("nan")
    with pytest.raises(InputError, match="input channel 1 holds values that are not finite"):
        Normaliser(2, 1).fit(inputs, outputs)
