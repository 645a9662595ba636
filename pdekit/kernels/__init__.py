"""Compiled CPU kernels; each has a twin in tensor operations.

`pcg.solve` is multigrid-preconditioned conjugate gradients on 2-D and 3-D lattices, a sample a thread. Modules are
imported where they are used, since loading compiled code takes a while.

How the multigrid is built, from the bottom: `plan` says which lattices there are, `layout` where they lie in memory,
`lattice` and `sweep` loop over them, `assembly` and `galerkin` set up their operators, `cycle` is the V-cycle,
`islands` a correction for rough 3-D media, `fused` the whole solution of one sample, `pcg` and `vcycle` the doors.
"""

__all__: list[str] = []
