"""The annotations are checked in the tests, and step aside where pdekit's own messages are under test."""

import jaxtyping
import pytest
import torch

from pdekit.core.errors import InputError
from pdekit.domain import Boundary, Grid
from pdekit.plot import plot_fields


def test_a_wrong_type_is_caught():
    try:
        plot_fields({"u": [1.0, 2.0, 3.0]}, Grid((3,)))  # type: ignore[dict-item]
    except jaxtyping.TypeCheckError as error:
        assert "fields" in str(error)  # noqa: PT017 - inside pytest.raises the checks are off
    else:
        pytest.fail("the annotations are not checked")


def test_inside_raises_the_message_is_ours():
    with pytest.raises(InputError, match="Did you mean dirichlet"):
        Boundary("left", "drichlet")  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        plot_fields({"u": torch.ones(4)}, Grid((3,)))
    assert "u has shape (4,)" in str(caught.value)
