"""Stationary iterations."""
