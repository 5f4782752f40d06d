"""Keeps profiles up to date: decides when to measure what, and lets child processes do it."""
