"""Make training samples without solving: draw solutions, compute their sources, and see how the sources' law shifts."""

import time

import pdekit as pk

smooth = pk.fields.GaussianField(alpha=2, tau=3)
family = pk.families.Darcy(pk.Grid((64, 64)), coefficient=pk.fields.LogNormal(smooth), source=smooth)
made = pk.families.InverseMade(family, solutions=30)
made.solve(made.draw([0], seed=0), rtol=1e-12)  # solves the 30 samples that all others are combined of

start = time.perf_counter()
inputs = made.draw(range(256), seed=0)
samples = made.solve(inputs, rtol=1e-12)
seconds = time.perf_counter() - start
print(f"{len(samples)} samples in {seconds:.2f} s: {samples.certificate}")
assert samples.certificate.value.max() < 1e-13  # exact to rounding,
assert not samples.certificate.iterations.any()  # without an iteration

# The sources do not follow the law of the family's any more: that is the price, and here is how much.
shift = made.shift(inputs)
print(shift)
assert 0.3 < shift.made.sum() / shift.drawn.sum() < 3

# Held-out samples are drawn and solved, so that errors are measured under the family's own law.
held_out = made.solve(made.draw(range(16), seed=0, split="test"), rtol=1e-8)
print(held_out.certificate)
assert held_out.certificate.iterations.min() > 0
