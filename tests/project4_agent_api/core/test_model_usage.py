"""Prices of models: which one applies, and what a call costs by it."""

from collections.abc import Callable

import pytest
from langchain_core.messages import AIMessage
from pydantic import ValidationError

from project4_agent_api.core.model_usage import Prices, Tokens, UsageByModel, usage_of
from project4_agent_api.settings import ModelPrice, Settings

PRICES = Prices(
    {
        "gpt-4o": ModelPrice(input=2.5, cached_input=1.25, output=10),
        "gpt-4o-mini": ModelPrice(input=0.15, output=0.6),
        "free": ModelPrice(input=0, output=0),
    },
    "USD",
)


def used(model: str, **tokens: int) -> UsageByModel:
    usage = UsageByModel()
    usage.add_tokens(model, Tokens(**tokens))
    return usage


@pytest.mark.parametrize(
    ("model", "priced_as"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4o@20240806", "gpt-4o"),
        ("gpt-4o-0806", "gpt-4o"),
        ("gpt-4o-audio", None),
        ("gpt-4o-mini-high", None),
        ("gpt-4", None),
    ],
)
def test_price_applies_to_dated_versions_of_a_model_only(model: str, priced_as: str | None) -> None:
    assert PRICES.find(model) == (PRICES.by_model[priced_as] if priced_as else None)


def test_cached_input_has_a_price_of_its_own_if_it_is_given() -> None:
    million = {"input": 1_000_000, "cached_input": 400_000, "output": 100_000}

    assert PRICES.cost(used("gpt-4o", **million)).amount == pytest.approx(0.6 * 2.5 + 0.4 * 1.25 + 1)
    assert PRICES.cost(used("gpt-4o-mini", **million)).amount == pytest.approx(0.15 + 0.06)


def test_model_without_price_is_named_and_a_free_one_costs_nothing() -> None:
    assert PRICES.cost(used("free", input=7)).amount == 0
    usage = used("free", input=7)
    usage.add_tokens("other", Tokens(output=3))
    assert (PRICES.cost(usage).amount, PRICES.cost(usage).unpriced_models) == (0, ["other"])
    assert PRICES.cost(used("other", output=3)).amount is None


def test_usage_is_added_up_by_the_model_that_answered() -> None:
    details = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12, "input_token_details": {"cache_read": 4}}
    answer = AIMessage("a", usage_metadata=details, response_metadata={"model_name": "gpt-4o-2024-08-06"})
    usage = usage_of([answer, AIMessage("without usage"), answer])

    assert usage["gpt-4o-2024-08-06"].calls == 2
    assert usage.tokens == Tokens(input=20, cached_input=8, output=4, total=24)
    assert UsageByModel.from_json(usage.to_json() + usage.to_json()).tokens.total == 48


@pytest.mark.parametrize("prices", ["{", '{"m": {"input": 1}}', '{"m": {"input": -1, "output": 1}}', "[]"])
def test_prices_that_are_incomplete_are_refused(make_settings4: Callable[..., Settings], prices: str) -> None:
    with pytest.raises(ValidationError, match="llm_prices"):
        make_settings4(llm_prices=prices)
