"""Configuration -> process state and back; the only package that changes anything."""
