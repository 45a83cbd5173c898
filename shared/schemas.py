"""What the request bodies of every stage are made of."""

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


class RequestBody(BaseModel):
    """A request body. Unknown fields and wrong types are refused, so that a mistake is noticed and not guessed at."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _integral(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    return text


# JSON has one kind of number: 2.0 is an integer there, and "2" is none.
# It goes after an integer's bounds, as in `Annotated[int, Field(ge=1), INTEGRAL]`.
INTEGRAL = BeforeValidator(_integral)

# PostgreSQL stores no NUL character, and no one means to send one.
WITHOUT_NUL = AfterValidator(_without_nul)
