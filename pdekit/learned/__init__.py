"""Networks inside solvers: learned preconditioners and directions."""
