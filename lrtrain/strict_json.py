"""JSON from a file into a typed record: whatever is in the file, the answer is the record or one sentence."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

from msgspec import Meta, ValidationError, convert

T = TypeVar("T")

# A float holds no larger whole number; those of JSON have no bound.
Whole: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Positive: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]

# More than any JSON file of ours has: it bounds the memory that a damaged one can take. Logs grow with the run.
MAX_BYTES = 256 * 2**20
_LONGEST = 200
# JSON can hold half of a character, which no terminal and no file can.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_KIND = re.compile(r"`([^`]*)`")
_KINDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "a text",
}
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `(?P<place>[^`]*)`)?", re.DOTALL)


class InvalidFileError(Exception):
    """What is wrong with a file, as a sentence that names the file and, where there is one, the field."""


def read_text(path: Path) -> str:
    """Returns the text of a file; raises InvalidFileError when it is missing, no file, not UTF-8, or unreadable."""
    try:
        # Reading a pipe instead of a file could wait for ever.
        if not path.is_file():
            raise InvalidFileError(f"{path.name} is missing" if not path.exists() else f"{path.name} is not a file")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidFileError(f"{path.name} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InvalidFileError(f"{path.name} is not text") from None


def parse_json(text: str, title: str) -> Any:
    """Returns what a text holds; raises InvalidFileError, naming ``title``: no JSON, too deep, or half a character."""
    try:
        values = json.loads(text)
        if _HALF.search(text):
            json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidFileError(f"{title} has half a character in it (a lone surrogate)") from None
    except (ValueError, RecursionError):
        raise InvalidFileError(f"{title} is not JSON") from None
    return values


def read_json(path: Path) -> Any:
    """Returns what a JSON file holds; raises InvalidFileError as `read_text` and `parse_json` do."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_BYTES:
            raise InvalidFileError(f"{path.name} has more than {MAX_BYTES // 2**20} MiB")
    return parse_json(read_text(path), path.name)


def decode(values: Any, kind: type[T], title: str, others: Callable[[type, Any], Any] | None = None) -> T:
    """Returns a record of the dataclass ``kind``; fields that it does not have are ignored.

    ``others`` makes a value of a type that JSON does not have, or raises ValueError when it cannot. Raises
    InvalidFileError, which calls the file ``title``, when a field is missing, or of another kind.
    """
    try:
        return convert(values, kind, dec_hook=others)
    except ValidationError as error:
        raise InvalidFileError(_sentence(str(error), title)) from None
    except (RecursionError, OverflowError):
        raise InvalidFileError(f"{title} is too deep, or has a number that is too large") from None


def path_of(kind: type, value: Any) -> Any:
    """Returns a text as a path, for `decode`."""
    if kind is Path and isinstance(value, str) and "\0" not in value:
        return Path(value)
    raise ValueError("expected a path")


def _sentence(said: str, title: str) -> str:
    """Turns an error of msgspec into ours: the file first, then the field, then what is wrong with it."""
    match = _PLACE.fullmatch(said)
    what, place = (match["what"], match["place"]) if match else (said, None)
    field = (place or "$").removeprefix("$").removeprefix(".")
    if missing := _MISSING.fullmatch(what):
        return f"{title} lacks {field}{'.' * bool(field)}{missing['name']}"
    expected = _KIND.sub(_kinds, what[:1].lower() + what[1:_LONGEST])
    return f"{title}: {field} is refused: {expected}" if field else f"{title} is refused: {expected}"


def _kinds(match: re.Match[str]) -> str:
    return " or ".join(_KINDS.get(kind, kind) for kind in match[1].split(" | "))
