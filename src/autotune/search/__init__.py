"""Measurements -> Calibration."""
