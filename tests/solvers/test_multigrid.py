"""The multigrid preconditioner: its symmetry and definiteness, and the compiled kernels against the tensor twin."""

import pytest
import torch
from kernels.networks import NETWORKS, network, stencil

from pdekit.core import InputError
from pdekit.solvers import DenseMatrix, Multigrid, Stencil
from pdekit.solvers.krylov.cg import conjugate_gradients
from pdekit.testing import check_device, check_preconditioner

BOTH = pytest.mark.parametrize("coarsening", ["averaged", "galerkin"])
SIDES = pytest.mark.parametrize("name", NETWORKS)


def operator(name, contrast=4.0, batch=1):
    return stencil(*network(*NETWORKS[name], contrast=contrast, batch=batch))


@BOTH
@SIDES
def test_kernels_and_tensors_agree(name, coarsening):
    A = operator(name, contrast=100.0, batch=3)
    kernel, twin = (Multigrid(coarsening, use).setup(A) for use in (True, False))
    assert kernel.name == twin.name
    x = torch.randn(2, 3, A.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = twin.matvec(x)
    torch.testing.assert_close(kernel.matvec(x), expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


@BOTH
@SIDES
def test_the_cycle_is_symmetric_and_contracts(name, coarsening):
    """Oracle: dense eigenvalues. 0.3 < lambda(M A) <= 1 on the complement of the null space."""
    A = operator(name)
    n = A.shape[0]
    M = Multigrid(coarsening).setup(A).matvec(torch.eye(n, dtype=torch.float64).unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(M, M.mT, rtol=0, atol=1e-13 * float(M.abs().max()))
    assert float(torch.linalg.eigvalsh(M).min()) > 0
    root = torch.linalg.cholesky(M)
    values = torch.linalg.eigvalsh(root.mT @ torch.from_numpy(A.to_scipy((0,)).toarray()) @ root)
    if A.nullspace is not None:
        assert float(values[0].abs()) < 1e-12
        values = values[1:]
    # an odd ring on a coarse level has neighbours of one colour, which are relaxed at once
    assert float(values.max()) <= (1.1 if "ring" in name else 1 + 1e-10)
    assert float(values.min()) > 0.3


def test_samples_with_other_hierarchies_in_one_batch():
    faces, sink, periodic = network(*NETWORKS["mixed"], batch=4)
    faces[0][1] *= 50  # coarsened along axis 0 first
    faces[1][2] *= 50
    faces[0][3, 5, 5] = 1e4  # a jump: galerkin
    A = stencil(faces, sink, periodic)
    kernel, twin = (Multigrid(use_kernels=use).setup(A) for use in (True, False))
    assert kernel.coarsening() == twin.coarsening() == ("averaged",) * 3 + ("galerkin",)
    x = torch.randn(4, A.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = twin.matvec(x)
    torch.testing.assert_close(kernel.matvec(x), expected, rtol=0, atol=1e-11 * float(expected.abs().max()))
    for i in range(4):
        torch.testing.assert_close(Multigrid().setup(A[i]).matvec(x[i]), kernel.matvec(x)[i], rtol=0, atol=0)


@pytest.mark.parametrize("use_kernels", [True, False])
@pytest.mark.parametrize("name", ["mixed", "neumann", "odd ring", "mixed 3-D"])
def test_keeps_the_promises_of_a_preconditioner(name, use_kernels):
    check_preconditioner(Multigrid(use_kernels=use_kernels), operator(name, batch=2))


@pytest.mark.parametrize("use_kernels", [True, False])
def test_gradient_with_respect_to_the_vector(use_kernels):
    M = Multigrid(use_kernels=use_kernels).setup(stencil(*network((6, 7), ("gg", "og"))))
    x = torch.randn(1, 42, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(M.matvec, (x,))
    assert torch.autograd.gradgradcheck(M.matvec, (x,))


@BOTH
def test_tensor_iteration_equals_the_fused_kernel(coarsening):
    from pdekit.kernels import pcg

    faces, sink, periodic = network(*NETWORKS["dirichlet"], batch=2)
    A = stencil(faces, sink, periodic)
    b = torch.randn(2, A.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fused = pcg.solve(faces, sink, periodic, b.reshape(2, *A.lattice).numpy(), rtol=1e-9, coarsening=coarsening)
    outcome = conjugate_gradients(
        A, Multigrid(coarsening, False).setup(A), b, None, 1e-9 * torch.linalg.vector_norm(b, dim=-1), 50
    )
    assert (outcome.iterations - torch.from_numpy(fused.iterations)).abs().max() <= 1
    torch.testing.assert_close(outcome.x, torch.from_numpy(fused.x).flatten(1), rtol=0, atol=1e-8)


def test_single_precision_takes_tensors():
    faces, _, _ = network((20, 21), ("gg", "gg"))
    A = Stencil([torch.from_numpy(f).float() for f in faces])
    M = Multigrid().setup(A)
    assert M.matvec(torch.ones(1, 420)).dtype == torch.float32
    with pytest.raises(InputError, match="float64 on the CPU"):
        Multigrid(use_kernels=True).setup(A)


def test_names_say_what_was_built():
    A = operator("dirichlet")
    assert repr(Multigrid().setup(A)) == "multigrid (averaged coarsening, 4 levels: 31x24, 15x12, 7x6, 3x3)"
    assert "galerkin" in Multigrid("galerkin").setup(A).name


def test_bad_input():
    with pytest.raises(InputError, match="expected one of auto, averaged, galerkin"):
        Multigrid("algebraic")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="needs a Stencil"):
        Multigrid().setup(DenseMatrix(torch.eye(4)))
    with pytest.raises(InputError, match="two or three axes"):
        Multigrid().setup(Stencil([torch.ones(9, dtype=torch.float64)]))
    M = Multigrid().setup(operator("tiny", batch=3))
    with pytest.raises((InputError, RuntimeError)):
        M.matvec(torch.ones(2, 12, dtype=torch.float64))


def _steps(device, shape, coarsening):
    faces = [torch.ones(2, *(n + (j == k) for j, n in enumerate(shape)), device=device) for k in range(len(shape))]
    A = Stencil(faces, periodic=(True,) + (False,) * (len(shape) - 1))
    b = torch.ones(2, A.shape[0], device=device)
    wanted = torch.zeros(2, device=device)
    out = conjugate_gradients(A, Multigrid(coarsening).setup(A), b, None, wanted, 3, check_every=None)
    assert out.x.device.type == device.type


def _every_kind(device):
    for coarsening in ("averaged", "galerkin"):
        _steps(device, (20, 17), coarsening)
        _steps(device, (9, 6, 8), coarsening)


def test_runs_on_an_accelerator_without_waiting_for_it():
    check_device(_every_kind)
