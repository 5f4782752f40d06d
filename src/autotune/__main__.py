"""`python -m autotune` is the `autotune` command."""

from autotune.cli.program import main

if __name__ == "__main__":
    main()
