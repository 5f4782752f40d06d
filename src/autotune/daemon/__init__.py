"""Keeps the profile true by itself: decides when to measure what, and has children do it."""
