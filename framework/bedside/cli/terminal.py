"""Texts of others on the terminal: names and sentences out of bundles, what a server answered, the names of files.

A terminal obeys escape sequences (it renames its window, moves the cursor over lines already read, opens links), and
rich obeys markup in square brackets. What others wrote may do neither.
"""

import unicodedata

from rich.text import Text


def plain(text: object, style: str = "") -> Text:
    """Return a text for rich that is shown letter by letter, ours alone deciding about its ``style``."""
    return Text("".join(map(_shown, str(text))), style)


def _shown(letter: str) -> str:
    if letter == "\t":
        return " "
    # Categories C*: control and format letters (the latter turn the direction of writing), surrogates, unassigned.
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(letter)[0] == "C" and letter != "\n" else letter
