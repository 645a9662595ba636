"""Checks whose messages name the culprit."""

import numpy as np
import pytest
import torch

from pdekit.core import InputError, as_real, check_finite, check_positive, check_shape, did_you_mean


def test_finite_and_positive_pass_and_name_the_first_culprit():
    good = torch.ones(2, 3, 4)
    check_finite("a", good)
    check_positive("a", good)
    bad = good.clone()
    bad[1, 0, 2] = float("nan")
    bad[1, 2, 3] = float("inf")
    for check in (check_finite, check_positive):
        with pytest.raises(InputError, match=r"a\[1, 0, 2\] is nan \(2 of 24 entries are not finite\)"):
            check("a", bad)
    negative = good.clone()
    negative[0, 1, 1] = -3
    negative[1, 0, 0] = 0
    with pytest.raises(InputError, match=r"a\[0, 1, 1\] is -3.0 \(2 of 24 entries are not positive\)"):
        check_positive("a", negative)


def test_shapes():
    check_shape("a", torch.ones(7, 3, 4), (3, 4))
    with pytest.raises(InputError, match="axes seem to be swapped"):
        check_shape("a", torch.ones(7, 4, 3), (3, 4))
    with pytest.raises(InputError, match="Drop the trailing axis"):
        check_shape("a", torch.ones(3, 4, 1), (3, 4))
    with pytest.raises(InputError, match=r"a has shape \(4,\); expected \(\*batch, 3, 4\)"):
        check_shape("a", torch.ones(4), (3, 4))


def test_nearest_name():
    assert did_you_mean("Dracy", ["Poisson", "Darcy"]) == "Did you mean Darcy? Known: Darcy, Poisson."
    assert did_you_mean("xyz", ["b", "a"]) == "Known: a, b."


@pytest.mark.parametrize("values", [None, "x", np.array([1.0, None]), np.array(["a"]), torch.ones(2) * 1j, object()])
def test_what_is_no_array_of_real_numbers_is_named(values):
    with pytest.raises(InputError, match=r"b is .*expected"):
        as_real("b", values)
