"""An evaluation: scorers, and the mean of each score over examples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """A run's answer, and the names of the tools that it called, in order."""

    answer: str
    tools: Sequence[str] = ()


@dataclass(frozen=True)
class Example:
    """A question, and the expectations of its run. Without an expectation there is no such score."""

    question: str
    contains: Sequence[str] | None = None
    tools: Sequence[str] | None = None


def contains(texts: Sequence[str], outcome: Outcome) -> str:
    """Return an empty string if all texts are in the answer, otherwise a reason that names the missing ones.

    Upper and lower case are the same, and so are line breaks and runs of spaces.
    """
    # TODO: normalize both sides in the same way before you compare
    #       比较之前，两边用同样的方式规范化
    return "" if texts[0] in outcome.answer else "missing"


def tools(names: Sequence[str], outcome: Outcome) -> str:
    """Return an empty string if these tools were called in this order, otherwise a reason.

    Others may have been called in between. No names: no tool may have been called at all.
    """
    # TODO: walk through the calls once; an iterator remembers how far you are
    #       把调用从头走一遍；迭代器会记住走到了哪里
    return "" if list(names) == list(outcome.tools) else "wrong tools"


SCORERS: Mapping[str, Callable[[Sequence[str], Outcome], str]] = {"contains": contains, "tools": tools}


def evaluate(examples: Sequence[Example], run: Callable[[str], Outcome]) -> dict[str, float]:
    """Run each example, and return the mean of each score over the examples that expect something of it.

    A score is 1 or 0. A run that raises has 0 in all of its example's scores: the evaluation goes on.
    """
    # TODO: run each example once; score it with each scorer that it has an expectation for
    #       每个样例只运行一次；它对哪个评分器有预期，就用哪个打分
    raise NotImplementedError
