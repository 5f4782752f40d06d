"""This computer -> Machine, Allocation; reads, never changes."""
