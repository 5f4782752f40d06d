from support.recorded_machines import expected, recorded, tree

__all__ = ["expected", "recorded", "tree"]
