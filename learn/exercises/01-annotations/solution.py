"""Annotations: the types of parameters and of results."""


def names_of_adults(ages: dict[str, int], minimum: int = 18) -> list[str]:
    """Return the names with at least this age. `ages` has an age in years for each name."""
    return [name for name, age in ages.items() if age >= minimum]


def find_age(ages: dict[str, int], name: str) -> int | None:
    """Return the age of somebody, or None if it is not known."""
    return ages.get(name)
