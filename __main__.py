"""`python -m bivit` is the program `bivit`."""

from .cli.main import main

if __name__ == "__main__":
    main()
