"""The tools that need no model: their results, and their limits."""

from decimal import Decimal

import pytest
from langgraph.store.memory import InMemoryStore

from project4_agent_api.agents.tools.calculator import NoResult, calculate
from project4_agent_api.agents.tools.clock import current_time
from tests.project4_agent_api.agents.conftest import Talk, last
from tests.support.scripted_model import ScriptedModel, calls, embedding_of, says


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2 * (3 + 4) / 7", "2"),
        ("0.1 + 0.2", "0.3"),
        ("1/3", "0.33333333333333333333"),
        ("2/3*3", "2"),
        ("2 ** 100", "1267650600228229401496703205376"),
        ("2^10 + 1", "1025"),
        ("12 × 3 ÷ 4 − 1", "8"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("7 % -3", "-2"),
        ("15% * 80", "12"),
        ("100 + 5%", "100.05"),
        ("10 % 3", "1"),
        ("1_000_000 * 3", "3000000"),
        ("123456789012345678.125 * 2", "246913578024691356.25"),
        ("sqrt(2) ** 2", "2"),
        ("round(100 / 3, 2)", "33.33"),
        ("round(2.5) + floor(-1.5) + ceil(1.2)", "2"),
        ("max(3, 9, 4) - min(3, 9, 4)", "6"),
        ("sum(1, 2, 3)", "6"),
        ("factorial(20)", "2432902008176640000"),
        ("log(1000) + log(8, 2)", "6"),
        ("ln(e)", "1"),
        ("sin(pi / 2)", "1"),
        ("cos(pi)", "-1"),
        ("0x10 + 0b11", "19"),
        ("1e3", "1000"),
        ("1e-7", "0.0000001"),
        ("3 + 4 =", "7"),
        ("（1 + 2）* 3", "9"),
        ("10 ** 80", "1e+80"),
        ("0 * -1", "0"),
    ],
)
def test_calculator_computes_expressions(expression: str, result: str) -> None:
    assert calculate(expression) == result


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("1 / 0", "divided by zero"),
        ("0 / 0", "no result"),
        ("5 % 0", "no result"),
        ("sqrt(-1)", "no result"),
        ("(-8) ** 0.5", "no result"),
        ("ln(0 - 1)", "no result"),
        ("10 ** 10 ** 10", "too large"),
        ("9 ** 9 ** 9 ** 9", "too large"),
        ("factorial(100000)", "0 to 1000"),
        ("factorial(1.5)", "0 to 1000"),
        ("round(1, 1000000)", "whole number of digits"),
        ("1e999999", "too large"),
        ("sin(1e5000)", "no result"),
        ("1,234 * 2", "without commas"),
        ("", "no arithmetic"),
        ("two and two", "nothing that this calculator knows"),
        ("what is two plus two", "no arithmetic"),
        ("2 +", "no arithmetic"),
        ("(" * 300 + "1" + ")" * 150, "no arithmetic"),
        ("1" * 501, "longer than 500"),
        ("__import__('os').system('true')", "nothing that this calculator knows"),
        ("(1).__class__", "nothing that this calculator knows"),
        ("[1] * 100000000", "nothing that this calculator knows"),
        ("'a' * 1000000000", "nothing that this calculator knows"),
        ("lambda: 1", "nothing that this calculator knows"),
        ("x + 1", "nothing that this calculator knows"),
        ("True + 1", "nothing that this calculator knows"),
        ("1j", "nothing that this calculator knows"),
        ("1 << 1000000000", "nothing that this calculator knows"),
        ("abs(x=1)", "nothing that this calculator knows"),
        ("sqrt()", "sqrt takes 1"),
        ("sqrt(1, 2)", "sqrt takes 1"),
        ("\ud800", "no arithmetic"),
        ("1\0", "no arithmetic"),
    ],
)
def test_calculator_reports_invalid_expressions(expression: str, why: str) -> None:
    with pytest.raises(NoResult, match=why):
        calculate(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9 % 7",
        "exp(exp(9))",
        "1.0000001 ** 1e30",
        "7 ** 0.3333 ** 0.9999 ** 1e-300",
        "factorial(1000) ** 9 ** 3",
        "-" * 480 + "1",
        "+".join(["sqrt(2)"] * 62),
        "ceil(10 ** 9000) + floor(10 ** 9000)",
        "max(" + ",".join(["9**9"] * 80) + ")",
    ],
)
def test_calculator_bounds_its_work(expression: str) -> None:
    try:
        result = calculate(expression)
    except NoResult as error:
        result = str(error)

    assert 0 < len(result) < 200


def test_calculator_result_is_an_exact_decimal() -> None:
    assert Decimal(calculate("sqrt(2)")) == Decimal("1.4142135623730950488")


@pytest.mark.parametrize(
    ("asked", "zone"),
    [
        ("UTC", "UTC"),
        ("Europe/Berlin", "Europe/Berlin"),
        ("asia/shanghai", "Asia/Shanghai"),
        ("Berlin", "Europe/Berlin"),
        ("new york", "America/New_York"),
    ],
)
def test_clock_returns_the_time_of_a_zone(asked: str, zone: str) -> None:
    assert f" in {zone} (2" in current_time.invoke({"timezone": asked})


@pytest.mark.parametrize("asked", ["Atlantis", "../../etc/passwd", "/etc/passwd", "", "\0", "x" * 1000])
def test_clock_reports_an_unknown_zone(asked: str) -> None:
    with pytest.raises(Exception, match="There is no time zone"):
        current_time.invoke({"timezone": asked})


async def test_memory_is_found_in_another_thread(talk: Talk, model: ScriptedModel) -> None:
    store = InMemoryStore(index={"embed": lambda texts: [embedding_of(text) for text in texts], "dims": 384})
    facts = ["My dog is called Rex.", "I live in the town of Bergen.", "My  dog is called REX."]
    async with talk(store=store) as conversation:
        for fact in facts:
            model.then(calls(("remember", f'{{"fact": "{fact}"}}')), says("I will."))
            await conversation.say(fact)
    async with talk(store=store) as another:
        model.then(calls(("recall", '{"query": "what is my dog called"}')), says("Rex."))
        _, recalled, answer = await another.say("What is my dog called?")

    lines = recalled.text.splitlines()
    assert len(lines) == 2  # a repeated fact is one memory
    assert "dog" in lines[0]
    assert "Bergen" in lines[1]
    assert answer.text == "Rex."


async def test_memory_requires_a_user(talk: Talk, model: ScriptedModel) -> None:
    async with talk() as conversation:
        model.then(calls(("recall", '{"query": "my dog"}')), says("I do not know."))
        _, recalled, answer = await conversation.say("What is my dog called?")

    assert recalled.text == "Nothing is remembered yet."
    assert last([answer]) == "I do not know."
