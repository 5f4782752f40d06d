"""Operation + Configuration -> Measurement, in a fresh process."""
