"""Words on a terminal: one verb per file; the only room that prints or exits."""


def main() -> None:
    """Run the command line."""
