"""Every example in a docstring of the package runs and prints what it shows."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest
import torch

import pdekit as pk

NAMES = sorted(module.name for module in pkgutil.walk_packages(pk.__path__, "pdekit."))
GLOBALS = {"torch": torch, "np": np, "pk": pk}


class Finder(doctest.DocTestFinder):
    """Also finds examples of functions that a decorator wraps, such as the argument checks of the tests."""

    def _from_module(self, module, object):  # the base class compares globals, which are the decorator's
        home = getattr(object, "__module__", None)
        return home == module.__name__ if home is not None else super()._from_module(module, object)


@pytest.mark.parametrize("name", NAMES)
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in Finder(exclude_empty=True).find(module, name, extraglobs=GLOBALS):
        runner.run(test)
    assert runner.failures == 0, f"{runner.failures} of {runner.tries} examples failed; the output is above"


def test_the_finder_sees_through_the_argument_checks():
    from pdekit.core import checks
    from pdekit.domain import grid

    names = {test.name for module in (checks, grid) for test in Finder().find(module) if test.examples}
    assert {"pdekit.core.checks.check_finite", "pdekit.domain.grid.Grid", "pdekit.domain.grid.Grid.quadrature"} <= names
