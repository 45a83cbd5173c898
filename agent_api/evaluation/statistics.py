"""Means with confidence intervals, by resampling examples: repetitions of one example are not independent."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

_RESAMPLES = 2000
_LEVEL = 0.95
_Z = 1.959964  # two-sided, at this level


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def interval(means: Sequence[float]) -> Interval:
    """Return the mean of the examples' means.

    If all are equal, such as 1, resampling has nothing to vary: Wilson's interval then says how little a few examples
    prove.
    """
    mean = sum(means) / len(means)
    if len(set(means)) == 1:
        return Interval(mean, *_wilson(mean, len(means)))
    return Interval(mean, *_bootstrap(means))


def difference(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Return the mean difference of the same examples."""
    changes = [new - old for old, new in zip(before, after, strict=True)]
    mean = sum(changes) / len(changes)
    return Interval(mean, mean, mean) if len(set(changes)) == 1 else Interval(mean, *_bootstrap(changes))


def _wilson(mean: float, count: int) -> tuple[float, float]:
    spread = _Z * sqrt(mean * (1 - mean) / count + _Z**2 / (4 * count**2))
    scale = 1 + _Z**2 / count
    centre = mean + _Z**2 / (2 * count)
    return max((centre - spread) / scale, 0.0), min((centre + spread) / scale, 1.0)


def _bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """Return the percentiles of resampled means, the same at each call."""
    source = random.Random(0)  # noqa: S311  no secret
    means = sorted(sum(source.choices(values, k=len(values))) / len(values) for _ in range(_RESAMPLES))
    tail = round(_RESAMPLES * (1 - _LEVEL) / 2)
    return means[tail], means[-tail - 1]
