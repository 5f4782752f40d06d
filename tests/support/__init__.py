"""Builders, fakes and simulated machines for tests."""
