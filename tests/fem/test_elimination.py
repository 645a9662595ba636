"""Dirichlet values: elimination, and null spaces where there are none."""

import numpy as np
import pytest
import torch
from fem.oracle import distorted

from pdekit.core.errors import InputError
from pdekit.core.expressions import Expression
from pdekit.domain import Boundary, Interval, Mesh, Rectangle
from pdekit.fem import P1, P2, Space, Vector, assemble, eliminate, forms, natural, uniform
from pdekit.solvers import CSR, Direct, Tag, solve

SPACE = Space(distorted("triangle", 4), P2())


def system(space=SPACE, batch=(3,)):
    k = torch.rand(*batch, space.mesh.n_cells, dtype=torch.float64) + 0.5
    return assemble(forms.diffusion, space, k=k), assemble(forms.load, space, f=lambda x: 1 + x[0])


def dirichlet(*pairs):
    return [Boundary(where, "dirichlet", value) for where, value in pairs]


def test_the_reduced_system_is_that_of_dense_algebra():
    A, b = system()
    reduced = eliminate(SPACE, A, b, dirichlet(("left", lambda x: x[1]), ("right", 2.0)))
    fixed = torch.cat([SPACE.dofs("left"), SPACE.dofs("right")])
    g = torch.zeros(SPACE.n_dofs, dtype=torch.float64)
    g[SPACE.dofs("left")] = SPACE.dof_points[SPACE.dofs("left"), 1]
    g[SPACE.dofs("right")] = 2.0
    free = [i for i in range(SPACE.n_dofs) if i not in set(fixed.tolist())]
    assert reduced.free.tolist() == free
    A_ff, b_f, restore = reduced
    assert len(reduced) == 3
    assert Tag.SYMMETRIC in A_ff._tags
    for i in range(3):
        dense = torch.from_numpy(A.to_scipy((i,)).toarray())
        torch.testing.assert_close(torch.from_numpy(A_ff.to_scipy((i,)).toarray()), dense[free][:, free])
        torch.testing.assert_close(b_f[i], b[free] - dense[free] @ g)
    u = restore(solve(A_ff, b_f, Direct()).x)
    assert torch.equal(u[:, fixed], g[fixed].expand(3, -1))
    assert (b - A.matvec(u))[:, free].abs().max() < 1e-12
    assert torch.equal(restore(reduced.reduce(u)), u)
    assert torch.equal(A_ff.geometry.points, SPACE.dof_points[free])


def test_values_may_be_numbers_tensors_batches_functions_and_expressions():
    A, b = system()
    dofs = SPACE.dofs("left")
    y = SPACE.dof_points[dofs, 1]
    for value, expected in (
        (lambda x: x[1], y), (Expression("y"), y), (y, y), (3, 3 + 0 * y), (torch.tensor(2.0), 2 + 0 * y),
        (torch.stack([y, 2 * y, 3 * y]), torch.stack([y, 2 * y, 3 * y])),
    ):  # fmt: skip
        values = eliminate(SPACE, A, b, dirichlet(("left", value))).values
        torch.testing.assert_close(values[..., dofs], expected)
    assert eliminate(SPACE, A, b, dirichlet(("left", 1j))).b.dtype == torch.complex128


def test_where_parts_meet_the_later_wins_and_any_part_over_all():
    A, b = system()
    shared = sorted(set(SPACE.dofs("left").tolist()) & set(SPACE.dofs("bottom").tolist()))
    assert len(shared) == 1
    one, two, three = ("left", 1.0), ("bottom", 2.0), ("all", 3.0)
    for order, expected in (((one, two), 2.0), ((two, one), 1.0), ((one, three), 1.0)):
        assert float(eliminate(SPACE, A, b, dirichlet(*order)).values[shared[0]]) == expected
    values = eliminate(SPACE, A, b, dirichlet(one, three)).values
    assert torch.equal(values[SPACE.dofs("right")], torch.full_like(values[SPACE.dofs("right")], 3.0))


def test_vector_values_and_single_components():
    space = Space(Rectangle(3).mesh(), Vector(P1()))
    A = assemble(forms.elasticity, space, lam=1.0, mu=1.0)
    b = assemble(forms.load, space, f=torch.tensor([0.0, -1.0]))
    whole = eliminate(space, A, b, dirichlet(("left", torch.tensor([1.0, 2.0]))))
    assert whole.values[space.dofs("left")].tolist() == [1.0, 2.0] * 4
    assert torch.equal(whole.values, eliminate(space, A, b, dirichlet(("left", (1.0, 2.0)))).values)
    assert torch.equal(whole.values, eliminate(space, A, b, dirichlet(("left", lambda x: (1.0, 2.0)))).values)
    part = eliminate(space, A, b, dirichlet(("left", 0.0), ("bottom", 0.0)), components={"left": (0,), "bottom": (1,)})
    assert len(part.free) == space.n_dofs - 8
    assert part.A.nullspace is None
    assert part.A.near_nullspace.shape == (len(part.free), 3)
    sliding = eliminate(space, A, b, dirichlet(("left", 0.0)), components={"left": (0,)})
    # The block may still move along the wall: the null space is that translation.
    expected = torch.zeros(space.n_dofs, dtype=torch.float64)
    expected[1::2] = 1 / 4
    assert torch.allclose(sliding.A.nullspace.abs()[:, 0], expected[sliding.free])


@pytest.mark.parametrize("element", [P1(), P2(), Vector(P1())], ids=str)
def test_without_dirichlet_values_the_null_space_is_found(element):
    space = Space(distorted("triangle", 3), element)
    if space.rank:
        A = assemble(forms.elasticity, space, lam=torch.rand(2, space.mesh.n_cells) + 1, mu=1.0)
        b = assemble(forms.load, space, f=torch.tensor([1.0, 0.0]))
    else:
        A, b = system(space, (2,))
    found = eliminate(space, A, b, []).A.nullspace
    assert found.shape == (space.n_dofs, 3 if space.rank else 1)
    torch.testing.assert_close(found.T @ found, torch.eye(found.shape[1], dtype=torch.float64))
    assert A.matvec(found.T[:, None]).abs().max() < 1e-11
    null = torch.from_numpy(np.linalg.svd(A.to_scipy((1,)).toarray())[2][-found.shape[1] :].T.copy())
    torch.testing.assert_close(null @ (null.T @ found), found, atol=1e-8, rtol=0)


def test_a_robin_part_a_reaction_or_a_wave_number_leave_no_null_space():
    A, b = system()
    more, _ = natural(SPACE, [Boundary("left", "robin", 0.0, coefficient=1.0)])
    assert eliminate(SPACE, A + more, b, []).A.nullspace is None
    assert eliminate(SPACE, A + assemble(forms.mass, SPACE), b, []).A.nullspace is None
    mass = assemble(forms.mass, SPACE)
    assert eliminate(SPACE, CSR(A.pattern, None, A.entries - 7 * mass.entries), b, []).A.nullspace is None


def test_a_weak_reaction_is_no_null_space_and_a_place_far_off_hides_none():
    space = Space(Rectangle(40).mesh(), P1())
    K, M = assemble(forms.diffusion, space, k=1.0), assemble(forms.mass, space, c=1e-8)
    b = assemble(forms.load, space, f=1.0)
    assert eliminate(space, K + M, b, []).A.nullspace is None
    far = space.mesh.with_points(space.mesh.points + 1e4)
    moved = Space(far, Vector(P1()))
    A = assemble(forms.elasticity, moved, lam=1.0, mu=1.0)
    assert eliminate(moved, A, torch.zeros(moved.n_dofs), []).A.nullspace.shape[1] == 3


def test_each_connected_part_of_a_mesh_counts():
    mesh = Interval(3).mesh()
    points = torch.cat([mesh.points, mesh.points + 2])
    apart = Mesh(points, torch.cat([mesh.cells, mesh.cells + 4]), "line")
    apart = apart.with_boundary("left", lambda x: x[0] == 0)
    space = Space(apart, P1())
    A, b = assemble(forms.diffusion, space, k=1.0), assemble(forms.load, space, f=0.0)
    assert eliminate(space, A, b, []).A.nullspace.shape == (8, 2)
    second = eliminate(space, A, b, dirichlet(("left", 0.0))).A.nullspace
    torch.testing.assert_close(second.abs()[:, 0], torch.tensor([0.0] * 3 + [0.5] * 4, dtype=torch.float64))


def test_a_balanced_neumann_problem_is_solved_and_an_unbalanced_one_refused():
    space = Space(Rectangle(4).mesh(), P1())
    A = assemble(forms.diffusion, space, k=1.0)
    b = assemble(forms.load, space, f=lambda x: x[0] - 0.5)
    A, b, restore = eliminate(space, A, b, [])
    u = restore(solve(A, b, Direct()).x)
    assert (A.matvec(u) - b).abs().max() < 1e-12
    assert abs(float(u.sum())) < 1e-12
    with pytest.raises(InputError, match="null space"):
        solve(A, b + 0.1, Direct())


def test_singular_problems_without_a_common_symmetric_null_space_are_explained():
    space = Space(Rectangle(3).mesh(), P1())
    K, b = assemble(forms.diffusion, space, k=1.0), assemble(forms.load, space, f=1.0)
    C = assemble(forms.mass, space, c=uniform(torch.tensor([1.0, 0.0, 2.0])))
    with pytest.raises(InputError, match=r"A\[1\] is singular, with constants in its null space, but matrices"):
        eliminate(space, K + C, b, [])
    wind = assemble(forms.advection, space, velocity=torch.tensor([1.0, 0.0]))
    with pytest.raises(InputError, match=r"constants in its null space .* and not symmetric"):
        eliminate(space, K + wind, b, [])


def test_a_batch_of_right_hand_sides_of_one_matrix_and_complex_matrices():
    space = Space(Rectangle(3).mesh(), P1())
    K, M = assemble(forms.diffusion, space, k=1.0), assemble(forms.mass, space)
    A = CSR(K.pattern, None, K.entries - (2 + 1j) * M.entries)
    b = torch.rand(5, space.n_dofs, dtype=torch.float64)
    A_ff, b_f, restore = eliminate(space, A, b, dirichlet(("left", 1.0)))
    assert b_f.shape == (5, 12)
    u = restore(solve(A_ff, b_f, Direct()).x)
    assert u.shape == (5, 16)
    assert (A.matvec(u) - b)[:, space.dofs("right")].abs().max() < 1e-12


@pytest.mark.parametrize(
    ("boundaries", "message"),
    [
        ([Boundary("left", "neumann", 1.0)], "is neumann; eliminate takes dirichlet: .*fem.natural"),
        ([Boundary("left", "robin", 1.0, coefficient=1.0)], "is robin; .*fem.natural"),
        ([Boundary("left", "periodic")], "is periodic; .*needs a Grid"),
        (dirichlet(("lefft", 0.0)), "no boundary 'lefft'. Did you mean left.* Known: all, bottom, left, right, top"),
        (dirichlet(("left", 0.0), ("left", 1.0)), "'left' is given twice"),
        (dirichlet(("left", torch.zeros(3))), r"has shape \(3,\); expected \(\*batch, 9\)"),
        (dirichlet(("left", float("nan"))), r"The value of the boundary 'left'\[0\] is nan"),
        (dirichlet(("left", lambda x: x[0] / 0)), "The value of the boundary 'left'.* is (nan|-inf)"),
        (dirichlet(("left", lambda x: x[0][:2])), r"answered with the shape \(2,\) for 9 points"),
        (dirichlet(("left", lambda x: (x[0], x[1]))), "rank 1; P2 needs one number a point"),
        (["left"], "boundaries holds 'left'"),
    ],
)
def test_conditions_that_cannot_be_eliminated_are_explained(boundaries, message):
    A, b = system()
    with pytest.raises(InputError, match=message):
        eliminate(SPACE, A, b, boundaries)


def test_systems_that_cannot_be_reduced_are_explained():
    A, b = system()
    ends = dirichlet(("left", 0.0))
    other = Space(distorted("triangle", 4), P2())
    with pytest.raises(InputError, match=r"expected a matrix assembled on Space\(P2"):
        eliminate(other, A, b, ends)
    with pytest.raises(InputError, match=r"b has the shape \(5,\); expected \(\*batch, 81\)"):
        eliminate(SPACE, A, torch.zeros(5), ends)
    with pytest.raises(InputError, match="components names the boundary 'top', which has no condition"):
        eliminate(SPACE, A, b, ends, components={"top": (0,)})
    with pytest.raises(InputError, match="expected numbers from 0 to 0"):
        eliminate(SPACE, A, b, ends, components={"left": (1,)})
    line = Space(Interval(1).mesh(), P1())
    with pytest.raises(InputError, match=r"All 2 degrees of freedom .* are prescribed"):
        eliminate(line, assemble(forms.mass, line), assemble(forms.load, line, f=1.0), dirichlet(("all", 0.0)))
    with pytest.raises(InputError, match=r"restore was given the shape \(81,\); expected \(\*batch, 72\)"):
        eliminate(SPACE, A, b, ends).restore(b)
    with pytest.raises(InputError, match=r"reduce was given the shape \(72,\); expected \(\*batch, 81\)"):
        eliminate(SPACE, A, b, ends).reduce(b[:72])


def test_a_row_of_zeros_is_named_by_its_place():
    space = Space(Rectangle(4).mesh(), P1())
    k = torch.ones(2, space.mesh.n_cells, dtype=torch.float64)
    middles = space.mesh.points[space.mesh.cells].mean(1)
    k[1, (middles > 0.5).all(1)] = 0.0
    A, b = assemble(forms.diffusion, space, k=k), assemble(forms.load, space, f=1.0)
    with pytest.raises(
        InputError, match=r"The row of A\[1\] of the degree of freedom 18 at \(0.75, 0.75\) holds only zeros"
    ):
        eliminate(space, A, b, dirichlet(("left", 0.0)))


@pytest.mark.parametrize("k", [0.0, torch.zeros(2, 18)])
def test_rows_of_zeros_are_named_with_and_without_a_batch(k):
    """Without a coefficient no row is left: the first free node is named (dense algebra: the matrix is 0)."""
    space = Space(Rectangle(cells=3).mesh(), P1())
    A = assemble(forms.diffusion, space, k=k)
    of = r" of A\[0\]" if isinstance(k, torch.Tensor) else ""
    with pytest.raises(InputError, match=rf"The row{of} of the degree of freedom \d+ at \(.*\) holds only zeros \(12 "):
        eliminate(space, A, assemble(forms.load, space, f=1.0), [Boundary("left", "dirichlet", 0.0)])
