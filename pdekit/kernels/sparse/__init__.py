"""Kernels on matrices in compressed rows; they call no kernel of another folder (see `kernels.compile`)."""
