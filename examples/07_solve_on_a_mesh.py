"""Heat in a part that was drawn and meshed with Gmsh: read, named boundaries, P2 elements, VTU for ParaView, a picture.

Likewise from a shell: pdekit solve poisson --mesh examples/data/bracket.msh --source 1 --boundary.holes 0 --element P2
"""

from pathlib import Path

import torch

import pdekit as pk
from pdekit import fem

mesh = pk.Mesh.read(Path(__file__).parent / "data" / "bracket.msh")  # physical groups became named parts
print(mesh)
assert set(mesh.boundaries) == {"wall", "load", "inlet", "holes"}

# -div(k grad u) = 1: u = 0 at the holes, u given at the inlet, du/dn = 0 elsewhere (what is not said is insulated).
space = fem.Space(mesh, fem.P2())
middles = mesh.points[mesh.cells].mean(dim=1)
k = torch.where(middles[:, 1] < 0.5, 1.0, 5.0).double()  # one value a cell: two metals
A = fem.assemble(fem.forms.diffusion, space, k=k)
b = fem.assemble(fem.forms.load, space, f=1.0)
fixed = [
    pk.Boundary("holes", "dirichlet", 0.0),
    pk.Boundary("inlet", "dirichlet", lambda x: x[0] * (0.3 - x[0])),
]
A, b, restore = fem.eliminate(space, A, b, fixed)
solution = pk.solve(A, b, pk.CG(preconditioner=pk.AMG()), rtol=1e-10)
print(solution)
u = space.at_nodes(restore(solution.x))  # without the midpoints that P2 adds

mesh.write("bracket.vtu", {"temperature": u, "conductivity": k})
pk.plot.save(pk.plot.plot_fields({"conductivity": k, "temperature": u}, mesh), "bracket.png")
pk.plot.save(pk.plot.plot_mesh(mesh), "bracket_mesh.png")

# Maximum principle: the source heats, so that u is nowhere below its smallest prescribed value.
assert u.min() > -1e-9
again = pk.Mesh.read("bracket.vtu")
assert again.fingerprint == mesh.fingerprint  # names and all
