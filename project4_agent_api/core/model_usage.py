"""Tokens of model calls, recorded for each run and each user's days, and their cost at the prices of `LLM_PRICES`.

Tokens are stored, costs are computed when they are shown: a changed price applies to earlier calls too.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from psycopg.types.json import Jsonb
from pydantic import BaseModel, Field

from project4_agent_api.core.postgres import Connection, Pool, execute, fetch_all
from project4_agent_api.settings import ModelPrice, Settings

_MILLION = 1_000_000
_MAX_NAME = 200
# `gpt-4o-mini-2024-07-18` has the price of `gpt-4o-mini`: endpoints answer with the date of the version.
_DATE = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{4}|\d{6}|\d{8})$")
UNNAMED = "unknown"  # a model whose name neither the call nor the answer has


class Tokens(BaseModel):
    """Tokens of model calls, as the endpoints reported them."""

    input: int = 0
    cached_input: int = Field(default=0, description="The part of `input` that the endpoint had cached.")
    output: int = 0
    total: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        """Add up tokens."""
        return Tokens(
            input=self.input + other.input,
            cached_input=self.cached_input + other.cached_input,
            output=self.output + other.output,
            total=self.total + other.total,
        )

    @classmethod
    def from_usage(cls, usage: UsageMetadata) -> "Tokens":
        """Return the tokens of an answer."""
        given, written = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
        cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
        return cls(
            input=given,
            cached_input=min(cached, given),
            output=written,
            total=usage.get("total_tokens", given + written),
        )


class Cost(BaseModel):
    """The cost of model calls."""

    amount: float | None = Field(description="Null if none of the models has a price.")
    currency: str = Field(description="`LLM_PRICES_CURRENCY`.", examples=["USD"])
    unpriced_models: list[str] = Field(description="Models without a price in `LLM_PRICES`, which `amount` leaves out.")


@dataclass
class ModelUsage:
    """The calls of one model."""

    calls: int = 0
    tokens: Tokens = field(default_factory=Tokens)


class UsageByModel(defaultdict[str, ModelUsage]):
    """The model calls of a run, a request or a day."""

    def __init__(self) -> None:
        super().__init__(ModelUsage)

    @property
    def tokens(self) -> Tokens:
        """The tokens of all models."""
        return sum((usage.tokens for usage in self.values()), Tokens())

    def add(self, message: BaseMessage | None, model: str = UNNAMED) -> None:
        """Add an answer of a model, unless it has no usage.

        Args:
            model: The model that was called, if the answer does not name one.
        """
        if isinstance(message, AIMessage) and message.usage_metadata:
            self.add_tokens(model_name(message) or model, Tokens.from_usage(message.usage_metadata))

    def add_tokens(self, model: str, tokens: Tokens, calls: int = 1) -> None:
        """Add calls of a model."""
        of_model = self[model[:_MAX_NAME]]
        of_model.calls += calls
        of_model.tokens += tokens

    def to_json(self) -> list[dict[str, Any]]:
        """Return the stored form."""
        return [{"model": name, "calls": each.calls, **each.tokens.model_dump()} for name, each in self.items()]

    @classmethod
    def from_json(cls, stored: Iterable[Mapping[str, Any]] | None) -> "UsageByModel":
        """Read the stored form, in which each attempt at a run has entries of its own."""
        usage = cls()
        for entry in stored or ():
            usage.add_tokens(entry["model"], Tokens.model_validate(entry), entry["calls"])
        return usage


def model_name(message: BaseMessage) -> str | None:
    """Return the model that an answer names."""
    name = message.response_metadata.get("model_name")
    return name if isinstance(name, str) and name else None


def usage_of(messages: Iterable[BaseMessage]) -> UsageByModel:
    """Add up the usage of model answers."""
    usage = UsageByModel()
    for message in messages:
        usage.add(message)
    return usage


@dataclass(frozen=True)
class Prices:
    """The prices of models."""

    by_model: Mapping[str, ModelPrice]
    currency: str

    @classmethod
    def from_settings(cls, settings: Settings) -> "Prices":
        """Return the prices of the settings."""
        return cls(settings.llm_prices, settings.llm_prices_currency)

    def find(self, model: str) -> ModelPrice | None:
        """Return the price of a model, or of the model without the date of its version."""
        return self.by_model.get(model) or self.by_model.get(_DATE.sub("", model))

    def cost(self, usage: UsageByModel) -> Cost:
        """Return the cost of calls."""
        priced = {name: price for name in usage if (price := self.find(name))}
        amounts = [_amount(usage[name].tokens, price) for name, price in priced.items()]
        return Cost(
            amount=sum(amounts) if amounts else None,
            currency=self.currency,
            unpriced_models=sorted(name for name in usage if name not in priced),
        )


def _amount(tokens: Tokens, price: ModelPrice) -> float:
    cached = price.input if price.cached_input is None else price.cached_input
    uncached_tokens = tokens.input - tokens.cached_input
    return (uncached_tokens * price.input + tokens.cached_input * cached + tokens.output * price.output) / _MILLION


_ADD_TO_DAY = """
    INSERT INTO model_usage AS stored (owner_id, day, model, calls, input, cached_input, output, total)
    SELECT %(owner_id)s, (now() AT TIME ZONE 'UTC')::date, model, calls, input, cached_input, output, total
    FROM jsonb_to_recordset(%(usage)s)
        AS used (model text, calls bigint, input bigint, cached_input bigint, output bigint, total bigint)
    ORDER BY model  -- so that concurrent statements lock rows in one order
    ON CONFLICT (owner_id, day, model) DO UPDATE SET
        calls = stored.calls + excluded.calls, input = stored.input + excluded.input,
        cached_input = stored.cached_input + excluded.cached_input, output = stored.output + excluded.output,
        total = stored.total + excluded.total
"""
_ADD_TO_RUN = f"""
    WITH run AS (UPDATE runs SET usage = coalesce(usage, '[]') || %(usage)s WHERE run_id = %(run_id)s) {_ADD_TO_DAY}
"""  # noqa: S608  constants of this module
_DAYS = """
    SELECT day, model, calls, input, cached_input, output, total FROM model_usage
    WHERE owner_id = %(owner_id)s AND day > (now() AT TIME ZONE 'UTC')::date - %(days)s::integer
    ORDER BY day DESC, model LIMIT 1000
"""
_TOTAL = """
    SELECT model, sum(calls)::bigint AS calls, sum(input)::bigint AS input, sum(cached_input)::bigint AS cached_input,
        sum(output)::bigint AS output, sum(total)::bigint AS total
    FROM model_usage WHERE owner_id = %s GROUP BY model ORDER BY model
"""


async def record_usage(
    source: Connection | Pool, owner_id: UUID, usage: UsageByModel, run_id: UUID | None = None
) -> None:
    """Add model calls to a user's day, and to their run.

    Raises:
        DatabaseUnavailable: if the database is unavailable.
    """
    parameters = {"owner_id": owner_id, "usage": Jsonb(usage.to_json()), "run_id": run_id}
    await execute(source, _ADD_TO_RUN if run_id else _ADD_TO_DAY, parameters)


async def list_days(pool: Pool, owner_id: UUID, days: int) -> list[dict[str, Any]]:
    """Return a user's usage of the last days, by day and model, newest first."""
    return await fetch_all(pool, _DAYS, {"owner_id": owner_id, "days": days})


async def total_usage(pool: Pool, owner_id: UUID) -> UsageByModel:
    """Return a user's usage since the account exists."""
    return UsageByModel.from_json(await fetch_all(pool, _TOTAL, [owner_id]))


async def forget_usage(connection: Connection, owner_id: UUID) -> None:
    """Delete the recorded usage of a deleted user."""
    await execute(connection, "DELETE FROM model_usage WHERE owner_id = %s", [owner_id])
