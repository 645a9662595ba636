"""Draw random Darcy problems, solve them all at once, look at the certificates and draw the first one.

python examples/01_solve_darcy.py [PICTURE.png]
"""

import math
import sys

import pdekit as pk

# -div(a grad u) = 1 on the unit square, u = 0 on its boundary; a is 3 or 12 by the sign of a random field.
family = pk.families.Darcy(
    pk.Grid((128, 128)),
    coefficient=pk.fields.Threshold(pk.fields.GaussianField(alpha=2, tau=3), low=3, high=12),
)
inputs = family.draw(range(16), seed=0)  # sample k of seed 0 is the same function every time, on every grid
samples = family.solve(inputs, rtol=1e-8)

print(samples)
assert samples["solution"].shape == (16, 128, 128)
assert samples.certificate.accepted.all()
assert samples.certificate.value.max() <= 1e-8  # relative residuals, recomputed in float64

# Maximum principle: u > 0 inside. Talenti's comparison: u stays below the disc of equal area with a = 3 throughout.
assert samples["solution"][:, 1:-1, 1:-1].min() > 0
assert samples["solution"].max() < 1 / (4 * math.pi * 3)

if len(sys.argv) > 1:
    pair = {"coefficient a": inputs["coefficient"][0], "solution u": samples["solution"][0]}
    pk.plot.save(pk.plot.plot_fields(pair, family.schema.domain), sys.argv[1])
