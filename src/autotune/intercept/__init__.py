"""Calls of NumPy and SciPy that are intercepted below their public names."""
