"""Find, check, set; never measures."""
