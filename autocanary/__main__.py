"""``python -m autocanary``, and the entry point of the installed commands."""

from autocanary.cli.root import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
