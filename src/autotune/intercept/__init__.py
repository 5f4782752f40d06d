"""Calls of NumPy and SciPy that are met below their public names."""
