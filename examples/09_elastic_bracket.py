"""A bracket of steel whose stiffness is not known exactly: displacements and stresses of random samples, certified."""

from pathlib import Path

import pdekit as pk

bracket = pk.shapes.MeshFile(Path(__file__).parent / "data" / "bracket.msh", refinements=1)
family = pk.families.Elasticity(
    bracket,
    young=pk.fields.LogNormal(pk.fields.GaussianField(alpha=2, tau=3, scale=2.0)),  # around 1, in units of 210 GPa
    poisson=0.3,
    body_force=(0.0, 0.0),
    boundaries=(
        pk.Boundary("holes", "dirichlet", 0.0),  # bolted
        pk.Boundary("load", "neumann", (0.0, -1e-5)),  # a traction of 2.1 MPa downwards, in the same units
        pk.Boundary("all", "neumann", 0.0),  # free
    ),
)
inputs = family.draw(range(8), seed=0)
samples = family.solve(inputs, rtol=1e-8)
print(samples)
assert samples.certificate.accepted.all()

u = samples["displacement"]  # (8, nodes, 2), in metres
tip = family.place.points[:, 0] > 0.999
assert (u[:, tip, 1] < 0).all()  # the arm bends down in every sample
stress = family.von_mises(samples)  # (8, cells)
assert stress.shape == (8, family.place.n_cells)

# The largest stress is at the bolts or in the fillet, well away from the free end.
worst = family.place.points[family.place.cells[stress.argmax(dim=1)]].mean(dim=1)
print("largest stresses at", worst.numpy().round(2).tolist())
assert (worst[:, 0] < 0.6).all()

first = {"young": inputs["young"][0], "displacement": u[0], "von Mises stress": stress[0]}
pk.plot.save(pk.plot.plot_fields(first, family.place, units={"displacement": "m"}), "elastic_bracket.png")
