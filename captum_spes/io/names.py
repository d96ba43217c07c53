"""Names of files and folders that are made from data: ids, tasks, recordings, words.

Every such name is made here. It stays in its folder whatever it is made of, works on Linux, macOS
and Windows, and names that a system could take for the same are told apart.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from urllib.parse import unquote

# File systems take 255 bytes at most; what is added (".explanation.npz", "-2") must fit, too.
_MOST_BYTES = 180
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE
)
_UNSAFE = '<>:"/\\|?*'
_UNSEEN = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")


def file_name(text: str) -> str:
    r"""Make one name of a file or folder from any text.

    Letters of all scripts, digits and blanks stay. What a system forbids, or what would hide the
    file or leave the folder, becomes %XX as in addresses; a text that is too long is cut and gets
    a digest. :func:`text_of_file_name` reads it back.

    Args:
        text: anything.

    Returns:
        A name without suffix, of 1 to 180 bytes.

    Examples::

        >>> file_name("Zürich 1"), file_name(".."), file_name("a/b")
        ('Zürich 1', '%2E%2E', 'a%2Fb')
    """
    text = unicodedata.normalize("NFC", text)
    # A text that looks like one of these names must not be taken for it.
    name = re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", text)
    name = "".join(_percent(c) if c in _UNSAFE or _is_unseen(c) else c for c in name)
    if not name:
        return "%"
    if name[0] in ".- " or _RESERVED.fullmatch(name):
        name = _percent(name[0]) + name[1:]
    if name[-1] in ". ":
        name = name[:-1] + _percent(name[-1])
    content = name.encode()
    if len(content) <= _MOST_BYTES:
        return name
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()
    return f"{content[: _MOST_BYTES - 11].decode(errors='ignore')}-{digest}"


def text_of_file_name(name: str) -> str:
    """The text that :func:`file_name` made a name from; any other name as it is."""
    text = unquote(name, errors="surrogateescape")
    return text if file_name(text) == name else name


class FileNames:
    """Names for one folder, no two of which a system could take for the same.

    Args:
        taken: names that the folder has for something else.
    """

    def __init__(self, *taken: str) -> None:
        self._taken = {_key(name) for name in taken}

    def new(self, text: str) -> str:
        """A name for a text, with a number behind it where the name is taken already."""
        name, number = file_name(text), 1
        while _key(name) in self._taken:
            number += 1
            name = f"{file_name(text)}-{number}"
        self._taken.add(_key(name))
        return name


def _key(name: str) -> str:
    """Equal where a file system that knows no case, or composes characters, sees one name."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _is_unseen(character: str) -> bool:
    return character != " " and (
        unicodedata.category(character) in _UNSEEN or not character.isprintable()
    )


def _percent(character: str) -> str:
    surrogate = 0xDC80 <= ord(character) <= 0xDCFF
    errors = "surrogateescape" if surrogate else "surrogatepass"
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", errors))
