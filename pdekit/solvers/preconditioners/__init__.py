"""Approximate inverses."""
