"""Recordings of a command: what its processes called, and the advice that follows."""
