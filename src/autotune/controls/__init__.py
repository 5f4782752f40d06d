"""Configuration -> process state and back; the only room that changes anything."""
