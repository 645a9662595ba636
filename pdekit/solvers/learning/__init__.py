"""Choosing a method while solving: what each has cost so far, and which to take next."""
