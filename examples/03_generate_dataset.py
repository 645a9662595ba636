"""Write a data set of certified samples to an HDF5 file and read it back.

The same from a shell: pdekit generate datasets/darcy/recipe.yaml --count 1024 --out data/darcy
"""

import tempfile
from pathlib import Path

import torch

import pdekit as pk
from pdekit.samples.hdf5 import read

family = pk.families.Darcy(
    pk.Grid((64, 64)),
    coefficient=pk.fields.Threshold(pk.fields.GaussianField(alpha=2, tau=3), low=3, high=12),
)

with tempfile.TemporaryDirectory() as folder:
    report = pk.generate(family, Path(folder) / "darcy", 64, seed=0, split="train", rtol=1e-8, ticket_size=32)
    print(report)
    samples = read(Path(folder) / "darcy")

print(samples)
assert len(samples) == 64
assert samples.certificate.accepted.all()

# Any sample can be drawn again: inputs are bit-exact functions of (seed, split, index).
again = family.draw([17], seed=0, split="train")
assert torch.equal(samples["coefficient"][17], again["coefficient"][0].float())
