"""A family of a user's own on meshes: what has to be given, and what follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from pdekit import fem
from pdekit.core import InputError
from pdekit.domain import Boundary, Disk, Mesh, RandomShape, Shape, Star
from pdekit.families import MeshFamily
from pdekit.families.conditions import conditions
from pdekit.fields import GaussianField, LogNormal, RandomField
from pdekit.samples import FieldSpec, Schema
from pdekit.testing import check_family


def plate(u, v, w):
    return w.a * fem.dot(u.grad, v.grad) + w.loss * u.value * v.value


@dataclass(frozen=True)
class Plate(MeshFamily):
    """-div(conductivity grad u) + loss u = 1."""

    domain: Mesh | Shape | RandomShape
    conductivity: RandomField
    loss: float = 10.0
    boundaries: Sequence[Boundary] = ()

    @property
    def schema(self):
        fields = (FieldSpec("conductivity", "input"), FieldSpec("temperature", "output"))
        return Schema(self.place, fields, conditions(self._example, self.boundaries), f"a plate of loss {self.loss}")

    def random_fields(self):
        return {"conductivity": self.conductivity}

    def assembled(self, inputs):
        a = fem.nodal(inputs["conductivity"])
        A = fem.assemble(plate, self.on_mesh.space, a=a, loss=self.loss)
        b = fem.assemble(fem.forms.load, self.on_mesh.space, f=1.0)
        return self.on_mesh.with_boundary_terms(A, b, flux=a)


LAW = LogNormal(GaussianField(alpha=2, tau=3, modes=8))


def test_it_keeps_all_promises_of_a_family():
    check_family(Plate(Disk(refinements=2), LAW))
    check_family(Plate(Disk(refinements=2), LAW, boundaries=[Boundary("boundary", "robin", 1.0, 2.0)]))


def test_own_fields_and_random_geometry_come_with_it():
    family = Plate(Disk(refinements=1), LAW)
    samples = family.solve(family.inputs_from({"conductivity": np.ones(13)}), rtol=1e-8)
    assert samples["temperature"].shape == (1, 13)
    with pytest.raises(InputError, match="given are heat; expected conductivity"):
        family.inputs_from({"heat": np.ones(13)})
    stars = Plate(Star(rings=(3, 5)), LAW)
    assert stars.solve(stars.draw(range(2), seed=0), rtol=1e-8).certificate.accepted.all()
