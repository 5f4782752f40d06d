"""Profiles and journals in, figures and an HTML page out; pure."""
