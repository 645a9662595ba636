"""The recycled space: what it holds, how it is bound to a matrix, when it is updated, and how it is kept."""

import numpy as np
import pytest
import scipy.sparse
import torch
from solvers.matrices import dense

from pdekit.core import InputError
from pdekit.solvers import CSR, DenseMatrix, Memory
from pdekit.solvers.recycling.policies import Always, Freeze, Never, Record
from pdekit.solvers.recycling.space import RecycleSpace, orthonormal_images


def vectors(size: int, n: int = 40, *, complex_: bool = False, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    kind = torch.complex128 if complex_ else torch.float64
    return torch.randn(size, n, dtype=kind, generator=generator)


def filled(size: int = 5, **options) -> RecycleSpace:
    space = RecycleSpace(8)
    space.replace(vectors(size, **options))
    return space


def images(A: DenseMatrix, rows: torch.Tensor) -> torch.Tensor:
    return rows @ A.matrix.mT


@pytest.mark.parametrize("kind", ["general", "complex", "definite"])
def test_the_images_are_orthonormal_products_and_the_span_stays(kind):
    # Oracle: dense products; the span by its projector.
    A = DenseMatrix(torch.from_numpy(dense(kind)))
    space = filled(complex_=A.dtype.is_complex)
    before = space.basis
    U, C = space.bound(A)
    assert torch.allclose(images(A, U), C, atol=1e-13)
    assert torch.allclose(C @ C.mH, torch.eye(5, dtype=A.dtype), atol=1e-13)
    projectors = [torch.linalg.pinv(rows) @ rows for rows in (before, U)]
    assert torch.allclose(*projectors, atol=1e-12)


class _Counted(DenseMatrix):
    """Counts the vectors that it is multiplied with."""

    products = 0

    def matvec(self, x):
        self.products += x[..., 0].numel()
        return super().matvec(x)


def test_what_is_bound_is_found_out_by_one_product():
    A = _Counted(torch.from_numpy(dense("general")))
    space = filled()
    first = space.bound(A)
    assert A.products == 5
    again = space.bound(A)
    assert A.products == 6  # one to see that nothing has changed
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize("how", ["another object", "in place", "behind torch's back", "another entry"])
def test_a_changed_matrix_is_noticed_whatever_changed_it(how):
    entries = dense("general")
    A = DenseMatrix(torch.from_numpy(entries))
    space = filled()
    space.bound(A)
    if how == "another object":
        A = DenseMatrix(1.01 * A.matrix)
    elif how == "in place":
        A.matrix.mul_(1.01)
    elif how == "behind torch's back":
        entries *= 1.01  # the same memory, at the same address, of the same version
    else:
        A.matrix[7, 3] += 1e-6
    U, C = space.bound(A)
    assert torch.allclose(images(A, U), C, atol=1e-12)
    assert torch.allclose(C @ C.mH, torch.eye(5, dtype=A.dtype), atol=1e-13)


def test_dependent_images_are_dropped():
    rows = vectors(4)
    rows = torch.cat([rows, rows[:2] + rows[2:4], torch.zeros(1, 40)])
    rows[5] += 1e-9 * vectors(1, seed=5)[0]
    A = torch.from_numpy(dense("general"))
    U, C = orthonormal_images(rows, rows @ A.mT)
    assert U.shape == (4, 40)
    assert torch.allclose(U @ A.mT, C, atol=1e-12)
    assert torch.linalg.matrix_norm(C @ C.mT - torch.eye(4, dtype=C.dtype)) < 1e-13


def test_images_that_are_badly_scaled_and_nearly_dependent_are_still_orthonormal():
    # A Gram matrix squares the condition, which is 1e5 here; another pass mends it.
    rows = vectors(6)
    rows[1] = rows[0] + 1e-5 * rows[1]
    rows = rows * torch.tensor([1e-9, 1.0, 1e6, 1.0, 1e-3, 1.0], dtype=torch.float64).unsqueeze(-1)
    rows[1] *= 1e-9
    A = torch.from_numpy(dense("general"))
    U, C = orthonormal_images(rows, rows @ A.mT)
    assert len(U) == 6
    assert torch.linalg.matrix_norm(C @ C.mT - torch.eye(6, dtype=C.dtype)) < 1e-13
    assert torch.linalg.matrix_norm(U @ A.mT - C) < 1e-9


@pytest.mark.parametrize("bad", [0.0, np.inf, np.nan])
def test_a_matrix_without_usable_images_leaves_the_space_for_the_next(bad):
    space = filled()
    U, C = space.bound(DenseMatrix(torch.full((40, 40), bad, dtype=torch.float64)))
    assert U.shape == C.shape == (0, 40)
    A = DenseMatrix(torch.from_numpy(dense("general")))
    assert len(space.bound(A)[0]) == 5


@pytest.mark.parametrize("other", [dense("general", n=30), dense("complex")])
def test_another_size_or_type_starts_afresh(other):
    space = filled()
    space.note(updated=True, iterations=9, reduction=1e-8, converged=True)
    U, C = space.bound(DenseMatrix(torch.from_numpy(other)))
    assert U.shape == C.shape == (0, len(other))
    assert U.dtype == torch.from_numpy(other).dtype
    assert space.basis is None
    assert space.record == Record()


def test_it_keeps_as_many_as_it_may():
    space = RecycleSpace(3)
    space.replace(vectors(5))
    assert torch.equal(space.basis, vectors(5)[:3])
    assert repr(space) == "RecycleSpace(3)"
    assert isinstance(space, Memory)


def test_what_it_refuses():
    with pytest.raises(InputError, match="RecycleSpace has vectors=0; expected at least 1"):
        RecycleSpace(0)
    with pytest.raises(InputError, match=r"one matrix at a time; A is a batch \(2,\)"):
        filled().bound(DenseMatrix(torch.eye(40, dtype=torch.float64).repeat(2, 1, 1)))
    for wrong in (vectors(2)[0], vectors(2).float()):
        with pytest.raises(InputError, match=r"expected rows \(size, n\), float64 or complex128"):
            RecycleSpace(2).replace(wrong)
    with pytest.raises(InputError, match=r"images have shape \(1, 40\); expected that of the basis, \(2, 40\)"):
        RecycleSpace(2).replace(vectors(2), vectors(1))
    for wrong in (None, vectors(2).tolist(), vectors(2).numpy()):
        with pytest.raises(InputError, match=r"vectors of type \w+; expected a tensor of rows \(size, n\)"):
            RecycleSpace(2).replace(wrong)
    for wrong in (torch.nan, torch.inf):
        rows = vectors(2)
        rows[1, 3] = wrong
        with pytest.raises(InputError, match=r"basis\[1, 3\] is (nan|inf) \(1 of 80 entries are not finite\)"):
            RecycleSpace(2).replace(rows)
    for wrong in ({}, [1], None, 5):
        with pytest.raises(InputError, match=r"state of a RecycleSpace .* expected \['basis', 'images', 'record'\]"):
            RecycleSpace(2).load_state_dict(wrong)


def test_state_survives_a_file(tmp_path):
    A = DenseMatrix(torch.from_numpy(dense("complex")))
    space = filled(complex_=True)
    U, C = space.bound(A)
    space.note(updated=False, iterations=9, reduction=1e-8, converged=False)
    torch.save(space.state_dict(), tmp_path / "space.pt")
    other = RecycleSpace(8)
    other.load_state_dict(torch.load(tmp_path / "space.pt", weights_only=True))
    assert all(torch.equal(*pair) for pair in zip(other.bound(A), (U, C), strict=True))
    assert other.record == space.record
    other.reset()
    assert other.basis is None
    assert other.record == Record()


RECORD = {"learnt": 3, "updating": False, "reference": 1.5, "effort": 1.25, "failed": False}
MALFORMED = [
    ({"record": 5}, "record=5"),
    ({"record": None}, "record=None"),
    ({"record": dict.fromkeys(RECORD, "1")}, "record="),
    ({"record": {**RECORD, "effort": float("nan")}}, "record="),
    ({"record": {**RECORD, "learnt": -1}}, "record="),
    ({"record": {}}, "record={}"),
    ({"basis": None}, "images without a basis"),
    ({"basis": vectors(2).tolist()}, "vectors of type list"),
    ({"basis": vectors(2).float()}, "torch.float32"),
    ({"basis": vectors(2) * np.nan}, r"basis\[0, 0\] is nan"),
    ({"images": vectors(2).tolist()}, "images are of type list"),
    ({"images": vectors(2).float()}, "images are torch.float32"),
    ({"images": vectors(2, complex_=True)}, "images are torch.complex128"),
    ({"images": vectors(1)}, r"images have shape \(1, 40\)"),
    ({"images": vectors(2) * np.inf}, r"images\[0, 0\] is -?inf"),
]


@pytest.mark.parametrize(("wrong", "said"), MALFORMED)
def test_a_state_that_is_refused_changes_nothing(wrong, said):
    space = filled()
    space.note(updated=True, iterations=9, reduction=1e-8, converged=True)
    before, record = space.basis, space.record
    with pytest.raises(InputError, match=said):
        space.load_state_dict({"basis": vectors(2), "images": vectors(2), "record": RECORD} | wrong)
    assert space.basis is before
    assert space.record == record


def test_what_a_solve_has_found_is_kept_as_far_as_it_is_finite():
    space, found = filled(), vectors(4, seed=1)
    found[1, 7] = torch.nan
    images = vectors(4, seed=2)
    images[3] = torch.inf
    space.learn(found, images)
    assert torch.equal(space.basis, found[[0, 2]])
    space.learn(found[1:2])
    assert len(space.basis) == 2


def test_printed_it_says_what_it_holds():
    space = RecycleSpace(20)
    assert str(space) == "RecycleSpace(20): no vectors"
    space.replace(vectors(12, 1000))
    assert str(space) == "RecycleSpace(20): 12 vectors of 1,000 unknowns"
    for updated in (True, False):
        space.note(updated=updated, iterations=9, reduction=1e-8, converged=True)
    assert str(space) == "RecycleSpace(20): 12 vectors of 1,000 unknowns, frozen"
    assert repr(space) == "RecycleSpace(20)"


def test_the_state_is_a_copy():
    space = filled()
    state = space.state_dict()
    space.replace(2 * vectors(5))
    other = RecycleSpace(8)
    other.load_state_dict(state)
    assert torch.equal(other.basis, vectors(5))


# ----------------------------------------------------------------------------------------------- policies


def played(policy, efforts, failures=()) -> list[bool]:
    """Whether the policy updates before each of a series of systems with so many iterations."""
    record, updates = Record(), []
    for i, iterations in enumerate(efforts):
        updates.append(policy.updates(record))
        record = record.after(
            updated=updates[-1], iterations=iterations, reduction=np.exp(-10.0), converged=i not in failures
        )
    return updates


def test_freeze():
    assert played(Freeze(after=3), [40, 30, 20, 20, 25, 29]) == [True] * 3 + [False] * 3
    aged = played(Freeze(after=2, worse=1.5), [40, 30, 20, 31, 25, 22, 20, 29, 31, 20])
    assert aged == [True, True, False, False, True, True, False, False, False, True]
    assert played(Freeze(after=1), [40, 20, 20, 20], failures={1}) == [True, False, True, False]
    assert played(Freeze(after=1), [40, 20, 20, 20], failures={0, 1}) == [True, True, True, False]
    assert played(Always(), [1, 2]) == [True, True]
    assert played(Never(), [1, 2], failures={0}) == [False, False]


def test_effort_is_that_for_each_factor_of_e_and_systems_without_iterations_say_nothing():
    loose = Record(learnt=9).after(updated=False, iterations=10, reduction=0.1, converged=True)
    tight = loose.after(updated=False, iterations=80, reduction=1e-8, converged=True)
    assert tight.effort == pytest.approx(loose.effort)
    assert not Freeze().updates(tight)
    assert tight.after(updated=False, iterations=0, reduction=1e-9, converged=True) == tight
    assert Freeze().updates(tight.after(updated=False, iterations=0, reduction=1.0, converged=False))


def test_policies_refuse():
    with pytest.raises(InputError, match="Freeze has after=0"):
        Freeze(after=0)
    with pytest.raises(InputError, match=r"worse=1\.0; expected a factor above 1"):
        Freeze(worse=1.0)
    with pytest.raises(InputError, match="worse='2'; expected a number"):
        Freeze(worse="2")


def test_a_space_serves_sparse_matrices_too():
    A = CSR.from_scipy(scipy.sparse.csr_array(dense("general")))
    U, C = filled().bound(A)
    assert torch.allclose(torch.stack([A.matvec(row) for row in U]), C, atol=1e-13)
