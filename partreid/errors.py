"""Mistakes a user can make. Each message says what was expected, what came and what to do.

The command line prints them as one sentence and exits with status 2; everything else is a bug and
keeps its traceback.
"""


class PartReidError(Exception):
    """Root of all errors that a user can mend."""


class RecipeError(PartReidError, ValueError):
    """A recipe names something unknown, of the wrong type, or that does not fit together."""


class DataError(PartReidError, ValueError):
    """A file or folder is missing, broken or not laid out as documented."""


class ShapeError(PartReidError, ValueError):
    """A tensor has another shape or dtype than its type promises."""


class ArgumentError(PartReidError, TypeError, ValueError):
    """A function was given something else than it takes."""
