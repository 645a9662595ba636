"""Kernels of learned preconditioners; they call no kernel of another folder (see `kernels.compile`)."""
