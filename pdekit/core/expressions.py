"""Arithmetic in the coordinates, written as text: ``x*(1-x)``.

A text is parsed into a syntax tree, every node of which must be on a list, and the tree is walked with tensors. Nothing
is ever evaluated by Python, so that a text from anywhere can do no more than arithmetic.
"""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pdekit.core.errors import InputError, did_you_mean

__all__ = ["Expression"]

_LONGEST = 1000
_DEEPEST = 100
_COORDINATES = ("x", "y", "z")
_CONSTANTS = {"pi": math.pi, "e": math.e}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Tensor]]] = {
    "sin": (1, torch.sin), "cos": (1, torch.cos), "tan": (1, torch.tan), "exp": (1, torch.exp), "log": (1, torch.log),
    "sqrt": (1, torch.sqrt), "abs": (1, torch.abs), "tanh": (1, torch.tanh), "sinh": (1, torch.sinh),
    "cosh": (1, torch.cosh), "minimum": (2, torch.minimum), "maximum": (2, torch.maximum), "where": (3, torch.where),
}  # fmt: skip
_OPERATORS: dict[type, Callable[..., Tensor]] = {
    ast.Add: torch.add, ast.Sub: torch.sub, ast.Mult: torch.mul, ast.Div: torch.div, ast.Pow: torch.pow,
    ast.USub: torch.neg, ast.UAdd: torch.positive, ast.Not: torch.logical_not,
    ast.And: torch.logical_and, ast.Or: torch.logical_or,
    ast.Lt: torch.lt, ast.LtE: torch.le, ast.Gt: torch.gt, ast.GtE: torch.ge,
}  # fmt: skip
_WORDS = (*_COORDINATES, "t", *_CONSTANTS, *_FUNCTIONS)


@dataclass(frozen=True)
class Expression:
    """A function of the coordinates and the time, by its formula.

    Args:
        text: with x, y, z, t, numbers, pi, e, ``+ - * / **``, parentheses, sin, cos, tan, exp, log, sqrt, abs, tanh,
            sinh, cosh, minimum(a, b), maximum(a, b) and where(condition, a, b); a condition compares by ``< <= > >=``
            and joins by ``and``, ``or``, ``not``. At most 1000 characters.

    Raises:
        InputError: anything else in the text; the message names it.

    Example:
        >>> Expression("x*(1-x)")(torch.tensor([[0.5, 0.0], [1.0, 3.0]]))
        tensor([0.2500, 0.0000])
        >>> Expression("where(y < 0.5, 1, exp(-t))")(torch.tensor([[0.5, 0.0], [1.0, 3.0]]), t=0.0)
        tensor([1., 1.])
    """

    text: str

    def __post_init__(self):
        _tree(self.text)

    @property
    def names(self) -> frozenset[str]:
        """The coordinates, and ``t``, that occur."""
        found = {node.id for node in ast.walk(_tree(self.text)) if isinstance(node, ast.Name)}
        return frozenset(found & {*_COORDINATES, "t"})

    def __call__(self, points: Tensor, t: float | Tensor = 0.0) -> Tensor:
        """Values at points.

        Args:
            points: ``(..., dim)``, floating point.
            t: the time, a number or broadcastable to ``(...)``.

        Returns:
            ``(...)``, of the dtype and on the device of the points; where the formula is not defined, inf or NaN.

        Raises:
            InputError: a coordinate that the points do not have.
        """
        if not points.is_floating_point() or points.ndim < 1:
            raise InputError(
                f"{self} was given points {points.dtype} of shape {tuple(points.shape)}; expected floats (..., dim)."
            )
        known = {name: points[..., k] for k, name in enumerate(_COORDINATES[: points.shape[-1]])}
        missing = sorted(self.names - {*known, "t"})
        if missing:
            raise InputError(
                f"The expression {self.text!r} has {missing[0]}, but the points have only {points.shape[-1]} "
                f"coordinate{'s' * (points.shape[-1] > 1)} ({', '.join(known)})."
            )

        def number(value: float | Tensor) -> Tensor:
            return torch.as_tensor(value, dtype=points.dtype, device=points.device)

        known |= {"t": number(t), **{name: number(value) for name, value in _CONSTANTS.items()}}

        def value(node: ast.expr) -> Tensor:
            match node:
                case ast.Constant():
                    return number(float(node.value))  # type: ignore[arg-type]
                case ast.Name():
                    return known[node.id]
                case ast.UnaryOp():
                    return _OPERATORS[type(node.op)](value(node.operand))
                case ast.BinOp():
                    return _OPERATORS[type(node.op)](value(node.left), value(node.right))
                case ast.Call(func=ast.Name(id=name)):
                    return _FUNCTIONS[name][1](*(value(argument) for argument in node.args))
                case ast.Compare():
                    sides = [value(side) for side in (node.left, *node.comparators)]
                    parts = [_OPERATORS[type(op)](a, b) for op, a, b in zip(node.ops, sides, sides[1:], strict=False)]
                case ast.BoolOp():
                    parts = [value(part) for part in node.values]
                case _:
                    raise AssertionError(f"{ast.dump(node)} passed the list")
            joined = parts[0]
            for part in parts[1:]:
                joined = _OPERATORS[type(node.op) if isinstance(node, ast.BoolOp) else ast.And](joined, part)
            return joined

        result = value(_tree(self.text))
        return result.expand(points.shape[:-1]) if result.ndim < points.ndim - 1 else result

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=256)
def _tree(text: str) -> ast.expr:
    """The syntax tree of a text, every node of it allowed."""
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"The expression is {text!r}; expected a formula such as x*(1-x).")
    if len(text) > _LONGEST:
        raise InputError(f"The expression has {len(text)} characters; expected at most {_LONGEST}.")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        place = f" near character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise InputError(
            f"The expression {text!r} is no formula{place}; expected one such as x*(1-x), with * between factors."
        ) from None
    if _check(tree, text, _DEEPEST):
        raise InputError(f"The expression {text!r} is a condition; expected a number: where({text.strip()}, 1, 0)?")
    return tree


def _check(node: ast.expr, text: str, depth: int) -> bool:
    """Whether a node is a condition; refuses every node that is not on the list."""
    if depth == 0:
        raise InputError(f"The expression {text[:40]!r}... is nested more than {_DEEPEST} deep.")

    def check(part: ast.expr, condition: bool, what: str) -> None:
        if _check(part, text, depth - 1) != condition:
            given, expected = ("a number", "a condition") if condition else ("a condition", "a number")
            raise InputError(f"In the expression {text!r}, {what} is {given}: {_part(part)}; expected {expected}.")

    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            if not math.isfinite(_as_float(value)):
                raise InputError(f"The expression {text!r} has the number {_part(node)[:30]}, which is too large.")
            return False
        case ast.Name(id=name) if name in ("t", *_COORDINATES, *_CONSTANTS):
            return False
        case ast.Name(id=name):
            reason = "needs its arguments in parentheses" if name in _FUNCTIONS else "is not known"
            raise InputError(f"In the expression {text!r}, {name} {reason}. {did_you_mean(name, _WORDS)}")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            check(node.operand, False, "the operand of a sign")
            return False
        case ast.UnaryOp(op=ast.Not()):
            check(node.operand, True, "the operand of not")
            return True
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow()):
            check(node.left, False, "an operand")
            check(node.right, False, "an operand")
            return False
        case ast.Compare() if all(type(op) in _OPERATORS for op in node.ops):
            for side in (node.left, *node.comparators):
                check(side, False, "a side of a comparison")
            return True
        case ast.BoolOp():
            for part in node.values:
                check(part, True, "an operand of and/or")
            return True
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
            count = _FUNCTIONS[name][0]
            if len(node.args) != count:
                raise InputError(
                    f"In the expression {text!r}, {name} has {len(node.args)} arguments; expected {count}."
                )
            for place, argument in enumerate(node.args):
                check(argument, name == "where" and place == 0, f"argument {place + 1} of {name}")
            return False
        case ast.Call(func=ast.Name(id=name)) if name not in _FUNCTIONS:
            raise InputError(
                f"In the expression {text!r}, {name}(...) is no known function. {did_you_mean(name, _FUNCTIONS)}"
            )
        case ast.BinOp(op=ast.BitXor()):
            raise InputError(f"In the expression {text!r}, ^ is not allowed. Did you mean ** (a power)?")
        case ast.Attribute(attr=name) | ast.Call(func=ast.Attribute(attr=name)):
            hint = f" Did you mean {name}?" if name in _WORDS else ""
            raise InputError(f"In the expression {text!r}, names with a dot are not allowed: {_part(node)}.{hint}")
        case _:
            raise InputError(
                f"In the expression {text!r}, {_part(node)} is not allowed; expected arithmetic of "
                f"{', '.join((*_COORDINATES, 't', *_CONSTANTS))} and the functions {', '.join(_FUNCTIONS)}."
            )


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _part(node: ast.expr) -> str:
    return ast.unparse(node)[:60]
