"""Words on a terminal: one verb per file; the only package that prints or exits."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    from autotune.cli.program import program

    program(prog_name="autotune")
