"""``python cli.py ...`` is the ``zoo`` command, from a checkout."""

from zoo.commands import main

if __name__ == "__main__":
    main()
