from recordings import expected, recorded, tree

__all__ = ["expected", "recorded", "tree"]
