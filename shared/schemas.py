"""What the request bodies of every stage are made of."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr


class RequestBody(BaseModel):
    """A request body. Unknown fields and wrong types are refused, so that a mistake is noticed and not guessed at."""

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


def _encodable(secret: SecretStr) -> SecretStr:
    try:
        secret.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("must be text: there is half a character in it") from None
    return secret


# JSON has one kind of number: 2.0 is an integer there, and "2" is none.
# It goes after an integer's bounds, as in `Annotated[int, Field(ge=1), INTEGRAL]`.
INTEGRAL = BeforeValidator(_integral)

# PostgreSQL stores no NUL character, and no one means to send one.
WITHOUT_NUL = AfterValidator(_without_nul)

# Something in it can be seen. A field says so with `json_schema_extra={"pattern": NOT_BLANK_PATTERN}` too, which means
# the same to everyone: Python's white space has U+001C to U+001F and U+0085 besides, that of JSON Schema has U+FEFF.
NOT_BLANK = AfterValidator(_not_blank)
NOT_BLANK_PATTERN = r"^[^\x00]*[^\x00\s\x1c-\x1f\x85\ufeff][^\x00]*$"

# Pydantic looks for half a character in a text, and not in a secret one.
Secret = Annotated[SecretStr, AfterValidator(_encodable)]
