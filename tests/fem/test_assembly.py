"""Matrices and vectors equal scikit-fem's own, whatever way they are assembled."""

import numpy as np
import pytest
import skfem
import torch
from fem.oracle import PAIRS, Oracle, distorted
from skfem.helpers import ddot, div, dot, mul, sym_grad

from pdekit.domain import Disk, Rectangle
from pdekit.fem import P1, P2, Q1, Field, Space, Vector, assemble, cellwise, forms, inner, nodal, uniform
from pdekit.fem import dot as times
from pdekit.solvers import Tag
from pdekit.testing import check_device

rng = np.random.default_rng(0)
ELASTIC = [(kind, element) for kind, element in PAIRS if element.degree > 0]


def close(ours, theirs):
    scale = abs(theirs).max()
    assert abs(ours - theirs).max() <= 1e-12 * max(scale, 1e-3)


def positive(*shape):
    return torch.from_numpy(rng.uniform(0.5, 2, shape))


@pytest.mark.parametrize(("kind", "element"), PAIRS, ids=str)
def test_forms_of_scalar_fields_equal_scikit_fem(kind, element):
    mesh = distorted(kind)
    space, d = Space(mesh, element), mesh.dim
    oracle = Oracle(space)
    k, c = positive(2, 3, mesh.n_cells).numpy()
    K, velocity = rng.normal(size=(3, mesh.n_cells, d, d)), rng.normal(size=(3, mesh.n_cells, d))
    batch = {
        "k": assemble(forms.diffusion, space, k=torch.from_numpy(k)),
        "K": assemble(forms.diffusion, space, k=cellwise(torch.from_numpy(K), rank=2)),
        "c": assemble(forms.mass, space, c=torch.from_numpy(c)),
        "r": assemble(forms.reaction, space, c=torch.from_numpy(c)),
        "v": assemble(forms.advection, space, velocity=cellwise(torch.from_numpy(velocity), rank=1)),
        "f": assemble(forms.load, space, f=torch.from_numpy(c)),
    }
    for i in range(3):
        at = {name: oracle.cellwise(values[i]) for name, values in (("k", k), ("K", K), ("c", c), ("v", velocity))}
        theirs = {
            "k": oracle.matrix(lambda u, v, w: w["a"] * dot(u.grad, v.grad), a=at["k"]),
            "K": oracle.matrix(lambda u, v, w: dot(mul(w["a"], u.grad), v.grad), a=at["K"]),
            "c": oracle.matrix(lambda u, v, w: w["a"] * u * v, a=at["c"]),
            "v": oracle.matrix(lambda u, v, w: dot(w["a"], u.grad) * v, a=at["v"]),
        }
        theirs["r"] = theirs["c"]
        for name, expected in theirs.items():
            close(batch[name].to_scipy((i,)).toarray(), expected)
        close(batch["f"][i].numpy(), oracle.vector(lambda v, w: w["a"] * v, a=at["c"]))


@pytest.mark.parametrize(("kind", "element"), ELASTIC, ids=str)
def test_forms_of_vector_fields_equal_scikit_fem(kind, element):
    mesh = distorted(kind, 1 if kind == "hexahedron" and element.degree == 2 else 2)
    space = Space(mesh, Vector(element))
    oracle = Oracle(space)
    lam, mu = positive(2, 2, mesh.n_cells)
    A = assemble(forms.elasticity, space, lam=lam, mu=mu)
    M = assemble(forms.mass, space, c=mu)
    pull = torch.arange(1.0, mesh.dim + 1, dtype=torch.float64)
    b = assemble(forms.load, space, f=cellwise(mu[..., None] * pull, rank=1))
    for i in range(2):
        at = {"lam": oracle.cellwise(lam[i].numpy()), "mu": oracle.cellwise(mu[i].numpy())}

        def stiffness(u, v, w):
            return w["lam"] * div(u) * div(v) + 2 * w["mu"] * ddot(sym_grad(u), sym_grad(v))

        close(A.to_scipy((i,)).toarray(), oracle.matrix(stiffness, **at))
        close(M.to_scipy((i,)).toarray(), oracle.matrix(lambda u, v, w: w["mu"] * dot(u, v), mu=at["mu"]))
        theirs = oracle.vector(lambda v, w: w["mu"] * sum(float(p) * v[j] for j, p in enumerate(pull)), mu=at["mu"])
        close(b[i].numpy(), theirs)


@pytest.mark.parametrize(("kind", "element"), ELASTIC, ids=str)
def test_boundary_integrals_equal_scikit_fem(kind, element):
    mesh = distorted(kind)
    space = Space(mesh, element)
    oracle = Oracle(space, "right")
    part, c = space.boundary("right"), positive(2, mesh.n_cells)
    M = assemble(forms.mass, part, c=c)
    b = assemble(forms.load, part, f=lambda x: 1 + x[0] * x[-1])
    # What needs normals, points and gradients at the facets, as in Nitsche's method.
    N = assemble(lambda u, v, w: times(u.grad, w.n) * v.value * (1 + w.x[0]), part)
    assert M.pattern is space.pattern is N.pattern
    close(M.to_scipy((1,)).toarray(), oracle.matrix(lambda u, v, w: w["c"] * u * v, c=oracle.cellwise(c[1].numpy())))
    close(b.numpy(), oracle.vector(lambda v, w: (1 + w.x[0] * w.x[-1]) * v))
    close(N.to_scipy().toarray(), oracle.matrix(lambda u, v, w: dot(u.grad, w.n) * v * (1 + w.x[0])))


@pytest.mark.parametrize("kind", ["line", "triangle", "quad", "tetra", "hexahedron"])
def test_coefficients_at_nodes_from_functions_and_fields_equal_scikit_fem(kind):
    mesh = distorted(kind)
    elements = dict((k, e) for k, e in PAIRS if e.degree == 2)
    space = Space(mesh, elements[kind])
    oracle = Oracle(space)
    first = Space(mesh, Q1() if kind in ("quad", "hexahedron") else P1(), space.quadrature_order)
    values, field = positive(2, mesh.n_nodes), positive(2, space.n_dofs)
    order = Oracle(first)
    theirs = np.empty(mesh.n_nodes)
    theirs[order.order] = values[1]
    at_points = order.basis.interpolate(theirs)
    A = assemble(forms.diffusion, space, k=nodal(values))
    close(A.to_scipy((1,)).toarray(), oracle.matrix(lambda u, v, w: w["k"] * dot(u.grad, v.grad), k=at_points))

    theirs = np.empty(space.n_dofs)
    theirs[oracle.order] = field[0]
    with_slope = oracle.basis.interpolate(theirs)
    B = assemble(
        lambda u, v, w: w.z * u.value * v.value + times(w.z.grad, u.grad) * v.value, space, z=Field(space, field)
    )
    expected = oracle.matrix(lambda u, v, w: w["z"] * u * v + dot(w["z"].grad, u.grad) * v, z=with_slope)
    close(B.to_scipy((0,)).toarray(), expected)
    C = assemble(forms.reaction, space, c=lambda x: torch.exp(x[0]) + x[-1] ** 2)
    close(C.to_scipy().toarray(), oracle.matrix(lambda u, v, w: (np.exp(w.x[0]) + w.x[-1] ** 2) * u * v))


def square(u, v, w):
    return (1 + w.k**2) * times(u.grad, v.grad)


def test_a_nonlinear_form_equals_scikit_fem_and_a_linear_one_equals_its_chunks():
    mesh = distorted("triangle", 4)
    space = Space(mesh, P2())
    oracle = Oracle(space)
    k = positive(2, 3, mesh.n_cells)
    A = assemble(square, space, k=k)
    assert A.batch_shape == (2, 3)
    form = lambda u, v, w: (1 + w["k"] ** 2) * dot(u.grad, v.grad)  # noqa: E731
    close(A.to_scipy((1, 2)).toarray(), oracle.matrix(form, k=oracle.cellwise(k[1, 2].numpy())))
    # The same linear form with a factor that hides its linearity.
    hidden = assemble(lambda u, v, w: torch.exp(torch.log(w.k)) * times(u.grad, v.grad), space, k=k)
    linear = assemble(forms.diffusion, space, k=k)
    torch.testing.assert_close(hidden.entries, linear.entries, rtol=1e-12, atol=1e-12)


def corner(u, v, w):
    bent = torch.where((w.x[0] > 0.9) & (w.x[1] > 0.9), w.k**2, w.k)
    return bent * times(u.grad, v.grad)


def test_a_form_that_bends_in_a_corner_only_is_not_taken_for_affine():
    space = Space(Rectangle(20).mesh(), P1())
    k = positive(2, space.mesh.n_cells)
    inside = (space.mesh.points[space.mesh.cells].mean(1) > 0.9).all(1)
    assert 0 < int(inside.sum()) < 20
    expected = assemble(forms.diffusion, space, k=torch.where(inside, k**2, k)).entries
    torch.testing.assert_close(assemble(corner, space, k=k).entries, expected)


@pytest.mark.parametrize("form", [forms.diffusion, square])
def test_neither_the_batch_nor_the_memory_changes_a_bit(form):
    mesh = distorted("quad", 5)
    space = Space(mesh, Q1())
    k = positive(7, mesh.n_cells)
    whole = assemble(form, space, k=k).entries
    for rows in (slice(0, 1), slice(2, 7), [6, 3]):
        assert torch.equal(assemble(form, space, k=k[rows]).entries, whole[rows])
    assert torch.equal(assemble(form, space, k=k[4]).entries, whole[4])
    if form is square:
        for memory in ("8kB", "100kB", 2**22):
            assert torch.equal(assemble(form, space, memory=memory, k=k).entries, whole)


def test_a_small_budget_gives_up_routing_and_the_same_matrices():
    mesh = distorted("tetra", 3)
    space = Space(mesh, P1())
    k = positive(3, mesh.n_cells)
    routed, chunked = (assemble(forms.diffusion, space, memory=m, k=k).entries for m in ("1GiB", "20kB"))
    torch.testing.assert_close(routed, chunked, rtol=1e-13, atol=1e-13)


def test_affine_forms_keep_their_constant_part_and_mix_batched_with_single_coefficients():
    mesh = distorted("triangle", 3)
    space = Space(mesh, P1())
    k, c, z = positive(4, mesh.n_cells), positive(mesh.n_nodes), positive(4)

    def screened(u, v, w):
        return w.k * times(u.grad, v.grad) + (w.c + w.z + 2.0) * u.value * v.value

    A = assemble(screened, space, k=k, c=nodal(c), z=uniform(z))
    K, M = assemble(forms.diffusion, space, k=k), assemble(forms.mass, space)
    C = assemble(forms.reaction, space, c=nodal(c))
    expected = K.entries + C.entries + (z[:, None] + 2.0) * M.entries
    torch.testing.assert_close(A.entries, expected, rtol=1e-13, atol=1e-14)
    product = assemble(lambda u, v, w: w.k * w.c * times(u.grad, v.grad), space, k=k, c=k[0])
    torch.testing.assert_close(product.entries, assemble(forms.diffusion, space, k=k * k[0]).entries)


def test_numbers_are_taken_in_double_precision_and_empty_batches_are_empty():
    space = Space(distorted("triangle", 2), P1())
    tenth = torch.tensor(0.1, dtype=torch.float64)
    for given in (0.1, tenth, uniform(0.1), lambda x: 0.1, np.float64(0.1)):
        ours = assemble(forms.reaction, space, c=given).entries
        torch.testing.assert_close(ours, tenth * assemble(forms.mass, space).entries, rtol=1e-15, atol=0)
    assert torch.equal(space.interpolate(0.1), tenth.expand(space.n_dofs))
    for form in (forms.diffusion, square):
        assert assemble(form, space, k=torch.ones(0, space.mesh.n_cells)).entries.shape == (0, space.pattern.nnz)


def test_complex_coefficients_on_both_ways():
    mesh = distorted("triangle", 3)
    space = Space(mesh, P2())
    k = torch.complex(positive(2, mesh.n_cells), positive(2, mesh.n_cells))
    real, imaginary = (assemble(forms.mass, space, c=part).entries for part in (k.real, k.imag))
    for form in (forms.mass, lambda u, v, w: w.c**2 / w.c * u.value * v.value):
        A = assemble(form, space, c=k)
        assert A.entries.dtype == torch.complex128
        torch.testing.assert_close(A.entries, torch.complex(real, imaginary), rtol=1e-12, atol=1e-14)
        assert Tag.SYMMETRIC in A.tags
        assert Tag.HERMITIAN not in A.tags
    B = assemble(forms.mass, space, c=1.0 + 2.0j)
    torch.testing.assert_close(B.entries, (1 + 2j) * assemble(forms.mass, space).entries)


def test_symmetry_is_known_of_forms_that_have_it():
    space = Space(distorted("triangle", 3), P1())
    k = positive(2, space.mesh.n_cells)
    both = {Tag.SYMMETRIC, Tag.HERMITIAN}
    assert assemble(forms.diffusion, space, k=k)._tags == both
    assert assemble(square, space, k=k)._tags == both
    wind = assemble(forms.advection, space, velocity=torch.tensor([1.0, 2.0]))
    assert not wind.tags & both
    tensors = cellwise(torch.eye(2).expand(space.mesh.n_cells, 2, 2), rank=2)
    assert assemble(forms.diffusion, space, k=tensors).tags == both  # found from the entries


def test_equal_shapes_have_one_pattern_and_the_space_remembers():
    space = Space(Rectangle(cells=3).mesh(), P1())
    A, B = (assemble(forms.diffusion, space, k=positive(n, 18)) for n in (2, 3))
    assert A.pattern is B.pattern is space.pattern
    indptr, indices = space.pattern.arrays
    theirs = skfem.Basis(Oracle(space).mesh, skfem.ElementTriP1())
    matrix = skfem.BilinearForm(lambda u, v, w: u * v).assemble(theirs)
    np.testing.assert_array_equal(indptr, matrix.indptr)
    np.testing.assert_array_equal(indices, matrix.sorted_indices().indices)


def test_what_a_form_closes_over_is_not_remembered():
    space = Space(Rectangle(cells=2).mesh(), P1())
    k = positive(2, 8)
    scale = 1.0

    def form(u, v, w):
        return scale * w.k * times(u.grad, v.grad)

    first = assemble(form, space, k=k).entries
    scale = 3.0
    torch.testing.assert_close(assemble(form, space, k=k).entries, 3 * first)


def test_matrices_carry_points_and_rigid_body_modes():
    mesh = Disk(refinements=1).mesh()
    space = Space(mesh, Vector(P2()))
    A = assemble(forms.elasticity, space, lam=1.0, mu=2.0)
    assert A.geometry.points.shape == (space.n_dofs, 2)
    assert A.geometry.component[:4].tolist() == [0, 1, 0, 1]
    modes = A.near_nullspace
    assert modes.shape == (space.n_dofs, 3)
    assert A.matvec(modes.T).abs().max() < 1e-12 * A.entries.abs().max()
    assert torch.linalg.matrix_rank(modes) == 3
    assert assemble(forms.mass, Space(mesh, P2())).near_nullspace is None


@pytest.mark.parametrize("kind", ["tetra", "hexahedron"])
def test_elasticity_annihilates_rigid_body_modes_in_three_dimensions(kind):
    mesh = distorted(kind)
    for element in (e for k, e in PAIRS if k == kind and e.degree == 1):
        space = Space(mesh, Vector(element))
        A = assemble(forms.elasticity, space, lam=positive(2, mesh.n_cells), mu=positive(mesh.n_cells))
        assert space.rigid_body_modes.shape[1] == 6
        # Every one against every matrix; the strain of a rotation vanishes at every quadrature point.
        image = A.matvec(space.rigid_body_modes.T[:, None])
        assert image.abs().max() < 1e-12 * A.entries.abs().max()


def test_arithmetic_of_quantities_is_that_of_components():
    mesh = distorted("triangle", 2)
    space = Space(mesh, Vector(P1()))
    K = torch.tensor([[2.0, 1.0], [0.0, 3.0]], dtype=torch.float64)
    left = assemble(lambda u, v, w: inner(times(K, u.grad), 2.0 * v.grad - v.grad / 2), space)

    def by_hand(u, v, w):
        total = 0.0
        for i in range(2):
            for j in range(2):
                for m in range(2):
                    total = total + 1.5 * float(K[i, m]) * u.grad[m][j] * v.grad[i][j]
        return total

    torch.testing.assert_close(left.entries, assemble(by_hand, space).entries, rtol=1e-13, atol=1e-14)


ON_DEVICE = Space(Rectangle(cells=2).mesh(), P1())
assemble(forms.diffusion, ON_DEVICE, k=torch.ones(2, 8))
ROUTER = next(plan.routers["k"] for plan, _ in ON_DEVICE.cache._kept.values() if hasattr(plan, "routers"))


def _products(device):
    k = torch.ones(3, 8, dtype=torch.float64, device=device, requires_grad=True)
    entries = ROUTER(k)
    assert entries.device == k.device
    entries.sum().backward()
    assert k.grad.device == k.device
    assert ON_DEVICE.matrix_gather(torch.ones(2, 8 * 9, dtype=torch.float64, device=device)).device == k.device


def test_products_follow_the_device():
    check_device(_products)
