"""Building blocks of request bodies."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr


class RequestBody(BaseModel):
    """A request body that rejects unknown fields and wrong types."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _integral(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _not_blank(text: str) -> str:
    if not text.replace("\ufeff", "").strip():
        raise ValueError("must not be blank")
    return text


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    return text


def _storable(moment: datetime) -> datetime:
    if not _FIRST_MOMENT <= moment <= _LAST_MOMENT:
        raise ValueError("must be a time of the years 1 to 9999 in every time zone")
    return moment


def _encodable(secret: SecretStr) -> SecretStr:
    try:
        secret.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    return secret


# JSON has one type of number, so 2.0 is accepted as an integer; "2" is not.
# Place it after the bounds: `Annotated[int, Field(ge=1), INTEGRAL]`.
INTEGRAL = BeforeValidator(_integral)

# PostgreSQL cannot store NUL characters.
WITHOUT_NUL = AfterValidator(_without_nul)

# PostgreSQL can store later times, and returns those of its own time zone, but no `datetime` holds them.
STORABLE_MOMENT = AfterValidator(_storable)
_FIRST_MOMENT, _LAST_MOMENT = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)

# At least one visible character. Add `json_schema_extra={"pattern": NOT_BLANK_PATTERN}` to document it: the pattern
# excludes the white space of both Python (which includes U+001C to U+001F and U+0085) and JSON Schema (U+FEFF).
NOT_BLANK = AfterValidator(_not_blank)
NOT_BLANK_PATTERN = r"^[^\x00]*[^\x00\s\x1c-\x1f\x85\ufeff][^\x00]*$"

# Pydantic rejects lone surrogates in a `str`, but not in a `SecretStr`.
Secret = Annotated[SecretStr, AfterValidator(_encodable)]
