"""Types of the request bodies of every stage."""

import re
import sys
from itertools import chain
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.schemas import NOT_BLANK, NOT_BLANK_PATTERN

TEXT = TypeAdapter(Annotated[str, NOT_BLANK])

CHARACTERS = [chr(code) for code in chain(range(1, 0xD800), range(0xE000, sys.maxunicode + 1))]
# As ECMA-262 has it, by whose regular expressions JSON Schema goes.
WHITE_SPACE = "\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"


@pytest.mark.parametrize("white_space", [r"\s", WHITE_SPACE], ids=["python", "json schema"])
def test_validator_and_schema_agree_on_blank_text(white_space: str) -> None:
    pattern = re.compile(NOT_BLANK_PATTERN.replace(r"\s", white_space))

    documented = {character for character in CHARACTERS if not pattern.search(character)}

    assert documented == {character for character in CHARACTERS if is_blank(character)}


def is_blank(text: str) -> bool:
    try:
        TEXT.validate_python(text)
    except ValidationError:
        return True
    return False
