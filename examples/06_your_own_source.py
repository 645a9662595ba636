"""Make a solver of your own a source of samples: certified, drawn by counters, streamed into training batches."""

import math

import torch

import pdekit as pk
from pdekit.samples import FieldSpec, Schema

# A rod that loses heat along its length: -u'' + 100 u = f, u = 0 at both ends. The solver is a sine transform.
grid = pk.Grid((65,))
schema = Schema(
    grid,
    (FieldSpec("heating", "input", "K/m^2"), FieldSpec("temperature", "output", "K")),
    (pk.Boundary("left", "dirichlet"), pk.Boundary("right", "dirichlet")),
)
heating = pk.fields.GaussianField(alpha=1.5, tau=5)
x, h = grid.coordinates(0)[1:-1], grid.spacing[0]
modes = torch.arange(1, 64, dtype=torch.float64)
sines = math.sqrt(2 * h) * torch.sin(math.pi * x[:, None] * modes)  # orthonormal
eigenvalues = (2 / h * torch.sin(math.pi * h * modes / 2)) ** 2 + 100


def draw(keys):
    return {"heating": heating.sample(keys.named("heating"), grid)}


def solve(fields, rtol):
    inside = ((fields["heating"][:, 1:-1] @ sines) / eigenvalues) @ sines.T
    return {"temperature": torch.nn.functional.pad(inside, (1, 1))}


def residual(fields):
    """||f + u'' - 100 u|| / ||f||, by differences: it knows nothing of the transform."""
    u, f = fields["temperature"], fields["heating"][:, 1:-1]
    left = f + (u[:, 2:] - 2 * u[:, 1:-1] + u[:, :-2]) / h**2 - 100 * u[:, 1:-1]
    return left.norm(dim=1) / f.norm(dim=1)


source = pk.Source.from_function(schema, draw, solve, residual)
samples = source.solve(source.draw(range(8), seed=0), rtol=1e-10)
print(samples)
assert samples.certificate.value.max() <= 1e-10

with pk.Stream(source, seed=0, capacity=256, watermark=64, batch_size=16, schedule="lockstep") as stream:
    batches = [stream.next_batch() for _ in range(10)]
assert batches[0].samples["temperature"].shape == (16, 65)
assert len({int(i) for batch in batches for i in batch.indices}) > 64  # fresh samples keep coming
