"""Text from outside, such as a file's name, made fit to be read: nothing in it moves a cursor or
hides what it is.
"""

import unicodedata

# of Persian, Hindi and emoji: they shape what stands beside them and hide nothing
_JOINERS = "\u200c\u200d"
# control, format (bidi overrides), surrogates, separators of lines
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_FORMULA = tuple(
    "=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}"
    "\N{FULLWIDTH COMMERCIAL AT}"
)


def printable(text: object) -> str:
    r"""One line in which every character shows; what is invisible stands as ``\x1b`` or ``\u202e``.

    Python keeps bytes of a name that are no UTF-8 as lone surrogates; they are shown as the bytes
    that they are.
    """
    raw = str(text)
    return raw if raw.isascii() and raw.isprintable() else "".join(map(_shown, raw))


def cell(text: object) -> str:
    """The same for a cell of a spreadsheet, with an apostrophe before it where it would be taken
    for a formula.
    """
    shown = printable(text)
    return f"'{shown}" if str(text).lstrip(" ").startswith(_FORMULA) else shown


def brief(value: object, most: int = 80) -> str:
    """A value for a sentence: what is longer than ``most`` characters is cut, with its length."""
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def reason(error: Exception) -> str:
    """What a system or library says of a failure, for a sentence: one line, not long."""
    text = (error.strerror or "") if isinstance(error, OSError) else str(error)
    return " ".join(text.split())[:200] or type(error).__name__


def _shown(character: str) -> str:
    code = ord(character)
    if character in _JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character) or (
        f"\\x{code:02x}"
        if code < 1 << 8
        else f"\\u{code:04x}"
        if code < 1 << 16
        else f"\\U{code:08x}"
    )
