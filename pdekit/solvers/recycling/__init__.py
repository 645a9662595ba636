"""What outlives a solve, and the methods that use it: recycled spaces, kept hierarchies and factors, chains."""
