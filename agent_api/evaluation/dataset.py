"""Datasets of examples, as YAML or as JSON lines.

A YAML file has the dataset's fields and its list `examples`; of JSON lines, each is an example. docs/evals.md describes
the format.
"""

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import jsonschema
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shared.errors import ConfigurationError


def _to_list(value: object) -> object:
    return [value] if isinstance(value, str | dict) else value


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return pattern


def _check_schema(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValueError(f"is not a JSON schema: {error.message}") from None
    return schema


Texts = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_to_list)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExpectedCall(_Model):
    """A call of a tool, with the arguments that it must have among others."""

    name: str
    args: dict[str, Any] = {}


class Trajectory(_Model):
    """The calls of tools that an answer needs.

    `exact`: these and no others, in this order. `in_order`: others may come between. `any_order`: others may come too.
    """

    calls: list[ExpectedCall]
    mode: Literal["exact", "in_order", "any_order"] = "in_order"


class Retrieved(_Model):
    """A passage that the search must find: of a document, or with a text, or both."""

    document: str | None = None
    text: str | None = None
    top: Annotated[int, Field(ge=1)] = 5

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.document is None and self.text is None:
            raise ValueError("needs `document` or `text`")
        return self


def _to_trajectory(value: object) -> object:
    """Take a list of names for a trajectory in this order, and an empty one for no call at all."""
    if not isinstance(value, list):
        return value
    calls = [{"name": call} if isinstance(call, str) else call for call in value]
    return {"calls": calls, "mode": "in_order" if calls else "exact"}


def _to_retrieved(value: object) -> object:
    return (
        [{"document": entry} if isinstance(entry, str) else entry for entry in value]
        if isinstance(value, list)
        else value
    )


class Expectation(_Model):
    """Requirements of an answer. Each field that is given is one score; texts are compared without case."""

    contains: Texts = []
    contains_any: Texts = []
    excludes: Texts = []
    equals: str | None = None
    regex: Annotated[str, AfterValidator(_check_pattern)] | None = None
    json_schema: Annotated[dict[str, Any], AfterValidator(_check_schema)] | None = None
    tools: Annotated[Trajectory, BeforeValidator(_to_trajectory)] | None = None
    cites: Texts = []
    citations: Literal["correct"] | None = None
    retrieves: Annotated[list[Retrieved], BeforeValidator(_to_retrieved), BeforeValidator(_to_list)] = []
    refuses: bool | None = None
    judge: Texts = []

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("expects nothing")
        return self


class Example(_Model):
    """A conversation, and the expectations of its last answer.

    Attributes:
        turns: Inputs of the runs on one thread: a text is a user's message, an object the graph's input.
        decide: The decision on each question about a tool call; without it, a run that asks has no answer.
        skip: Why the example is not run.
    """

    id: Annotated[str, Field(min_length=1, max_length=200)]
    turns: Annotated[list[str | dict[str, Any]], Field(min_length=1)]
    expect: Expectation | None = None
    config: dict[str, Any] = {}
    decide: Literal["approve", "reject"] | None = None
    skip: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _input(cls, value: object) -> object:
        """Take `input` for a conversation of one turn."""
        if not isinstance(value, dict) or "input" not in value:
            return value
        if "turns" in value:
            raise ValueError("has `input` and `turns`")
        return {name: part for name, part in value.items() if name != "input"} | {"turns": [value["input"]]}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.expect is None and self.skip is None:
            raise ValueError("needs `expect`, or `skip` with the reason")
        return self


Share = Annotated[float, Field(ge=0, le=1)]


class Dataset(_Model):
    """Examples for an assistant.

    Attributes:
        documents: Patterns of files, relative to the dataset, that are uploaded before the first run.
        require: The lowest mean of each score; `default` is for the others, and 1 if it is absent.
    """

    name: str = ""
    assistant: str = "agent"
    documents: Texts = []
    require: dict[str, Share] = {}
    examples: Annotated[list[Example], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [example.id for example in self.examples]
        if duplicates := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"several examples have the id {', '.join(sorted(duplicates))}")
        if unknown := self.require.keys() - Expectation.model_fields.keys() - {"default", "answered"}:
            raise ValueError(f"`require`: there is no score {', '.join(sorted(unknown))}")
        return self

    def required(self, score: str) -> float:
        """Return the lowest mean of a score with which the evaluation passes."""
        return self.require.get(score, self.require.get("default", 1.0))


def load_dataset(path: Path, only: str = "*") -> tuple[Dataset, list[Path]]:
    """Read a dataset with the examples whose id matches a pattern, and find its documents.

    Raises:
        ConfigurationError: with one line that names the file, the place and the fault.
    """
    try:
        content = _parse(path)
        dataset = Dataset.model_validate({"name": path.stem, **content})
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: {_fault(error)}") from None
    examples = [example for example in dataset.examples if fnmatchcase(example.id, only)]
    if not examples:
        raise ConfigurationError(f"{path}: no example has an id like {only}")
    documents = []
    for pattern in dataset.documents:
        found = [file for file in sorted(path.resolve().parent.glob(pattern)) if file.is_file()]
        if not found:
            raise ConfigurationError(f"{path}: documents: no file matches {pattern}")
        documents += found
    return dataset.model_copy(update={"examples": examples}), documents


def _parse(path: Path) -> Mapping[str, Any]:
    text = path.read_text("utf-8")
    if path.suffix != ".jsonl":
        content = yaml.safe_load(text)
        if not isinstance(content, dict):
            raise ValueError("must be an object with `examples`")
        return content
    return {"examples": [json.loads(line) for line in text.splitlines() if line.strip()]}


def _fault(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(_faults(error))
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return " ".join(str(error).split())


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors()[:3]:
        place = ".".join(str(part) for part in fault["loc"] if part not in {"str", "dict[str,any]"})
        message = fault["msg"].removeprefix("Value error, ")
        yield f"{place}: {message}" if place else message
