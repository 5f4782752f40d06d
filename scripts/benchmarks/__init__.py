"""Benchmarks of the project: one file per benchmark, `run_all` for all of them.

Run one with `scripts/benchmarks/run NAME [OPTION...]`.
"""
