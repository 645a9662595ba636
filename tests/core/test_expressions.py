"""Formulas as text: their values, and that nothing but arithmetic passes. Oracle: NumPy on the same points."""

import pickle

import numpy as np
import pytest
import torch

from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression

NUMPY = {name: getattr(np, name) for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "abs", "tanh", "sinh", "cosh")}
NUMPY |= {"minimum": np.minimum, "maximum": np.maximum, "where": np.where, "pi": np.pi, "e": np.e}


@pytest.mark.parametrize(
    "text",
    [
        "x*(1-x)", "-x**2 + 3.5e-1*y", "+y/(2 + z)", "sin(pi*x)*cos(2*y)", "exp(-t)*tanh(x)", "sqrt(abs(x - y))",
        "minimum(x, y) - maximum(y, z)", "where(x < 0.5, x, 1 - x)", "log(1 + e*x)", "x**y", "sinh(x)/cosh(y) + tan(z)",
        "2**-x",
    ],
)  # fmt: skip
def test_values_are_those_of_numpy(text):
    points = torch.rand(4, 5, 3, dtype=torch.float64)
    x, y, z = points.numpy().transpose(2, 0, 1)
    expected = eval(text, {"__builtins__": {}}, {**NUMPY, "x": x, "y": y, "z": z, "t": 0.7})
    values = Expression(text)(points, t=0.7)
    assert values.shape == (4, 5)
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("where(0.2 < x < 0.6, 1, 0)", lambda x, y: (0.2 < x) & (x < 0.6)),
        ("where(x < 0.5 and not y > 0.5, 1, 0)", lambda x, y: (x < 0.5) & ~(y > 0.5)),
        ("where(x <= 0.1 or y >= 0.9 or x >= 0.9, 1, 0)", lambda x, y: (x <= 0.1) | (y >= 0.9) | (x >= 0.9)),
    ],
)
def test_conditions_join(text, expected):
    points = torch.rand(200, 2, dtype=torch.float64)
    np.testing.assert_array_equal(Expression(text)(points).numpy(), expected(*points.numpy().T).astype(float))


def test_constants_take_the_shape_dtype_and_device_of_the_points():
    values = Expression("2")(torch.zeros(3, 4, 2))
    assert values.shape == (3, 4)
    assert values.dtype == torch.float32
    assert Expression("t")(torch.zeros(3, 1), t=2.0).tolist() == [2.0, 2.0, 2.0]


def test_a_time_for_each_point_and_gradients():
    points = torch.rand(5, 1, dtype=torch.float64, requires_grad=True)
    time = torch.arange(5, dtype=torch.float64)
    values = Expression("t*x**2")(points, t=time)
    (gradient,) = torch.autograd.grad(values.sum(), points)
    torch.testing.assert_close(gradient[:, 0], 2 * time * points[:, 0])


def test_expressions_are_values():
    one, same = Expression("x+1"), Expression("x+1")
    assert one == same
    assert hash(one) == hash(same)
    assert pickle.loads(pickle.dumps(one)) == one
    assert str(one) == "x+1"
    assert Expression("sin(x) + t*pi").names == {"x", "t"}


def test_what_is_not_defined_is_inf_or_nan_and_huge_powers_are_inf_at_once():
    point = torch.zeros(1, 1, dtype=torch.float64)
    assert torch.isinf(Expression("1/x")(point)).all()
    assert torch.isnan(Expression("log(x - 1)")(point)).all()
    assert torch.isinf(Expression("9**9**9**9")(point)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is ''; expected a formula"),
        ("   ", "expected a formula"),
        (3, "expected a formula"),
        ("2x", "no formula near character"),
        ("x +", "no formula"),
        ("x; y", "no formula"),
        ("x\x00", "no formula"),
        ("x = 1", "no formula"),
        ("u + 1", "u is not known"),
        ("sinn(x)", r"sinn\(...\) is no known function. Did you mean sin"),
        ("sin + x", "sin needs its arguments in parentheses"),
        ("x^2", r"\^ is not allowed. Did you mean \*\*"),
        ("np.sin(x)", r"names with a dot are not allowed: np.sin\(x\). Did you mean sin"),
        ("x.__class__", "names with a dot"),
        ("().__class__.__bases__[0]", "is not allowed"),
        ("__import__('os')", r"__import__\(...\) is no known function"),
        ("(lambda: 1)()", "is not allowed"),
        ("[x for x in (1,)]", "is not allowed"),
        ("'a' * 3", "'a' is not allowed"),
        ("1j * x", "1j is not allowed"),
        ("True", "True is not allowed"),
        ("f'{x}'", "is not allowed"),
        ("x if y else z", "is not allowed"),
        ("x // 2", "is not allowed"),
        ("x % 2", "is not allowed"),
        ("x == 1", "is not allowed"),
        ("x is y", "is not allowed"),
        ("(x, y)", "is not allowed"),
        ("x[0]", "is not allowed"),
        ("sin(x, y)", "sin has 2 arguments; expected 1"),
        ("where(x, 1, 2)", "argument 1 of where is a number: x; expected a condition"),
        ("where(x < 1, y < 1, 2)", "argument 2 of where is a condition"),
        ("(x < 1) + 1", "an operand is a condition"),
        ("x and y", "operand of and/or is a number"),
        ("x < 1", r"is a condition; expected a number: where\(x < 1, 1, 0\)"),
        ("sin(*x)", "is not allowed"),
        ("sin(x=1)", r"sin\(x=1\) is not allowed"),
        ("1e999", "too large"),
        ("1" + "0" * 400, "too large"),
        ("+".join("x" * 600), "1199 characters; expected at most 1000"),
        ("+".join("x" * 120), "nested more than 100 deep"),
        ("-" * 900 + "x", "nested more than 100 deep|no formula"),
        ("(" * 400 + "x" + ")" * 400, "no formula"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(InputError, match=message):
        Expression(text)


def test_a_coordinate_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"has z, but the points have only 2 coordinates \(x, y\)"):
        Expression("x + z")(torch.zeros(3, 2))
    with pytest.raises(InputError, match=r"expected floats"):
        Expression("x")(torch.zeros(3, 2, dtype=torch.int64))
