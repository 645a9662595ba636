"""Methods without iterations: factorisations and transforms."""
