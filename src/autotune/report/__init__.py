"""Profile and Calibration in, figures and an HTML page out; pure."""
