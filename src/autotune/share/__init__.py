"""Stores of profiles that a cluster shares: backends, merge, trust and the local mirror."""
