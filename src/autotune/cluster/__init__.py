"""Calibration of every class of nodes of a cluster."""
