"""`python -m bivit.cli` is the program `bivit`."""

from .main import main

if __name__ == "__main__":
    main()
