"""``python -m partreid``."""

from partreid.cli import main

if __name__ == "__main__":
    main()
