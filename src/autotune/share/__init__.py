"""Profiles between machines: stores, merge, trust, and calibration of a whole cluster."""
