"""The runnable work of the catalogue."""
