"""As fast as this machine allows: measured configurations of threads, workers and chunks for NumPy."""

__version__ = "0.1.0"
