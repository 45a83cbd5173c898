"""Annotations: the types of parameters and of results."""

# TODO: Annotate the parameters and the return value of both functions. Change nothing else.
#       给两个函数的参数和返回值写上类型注解，其余不动。


def names_of_adults(ages, minimum=18):
    """Return the names with at least this age. `ages` has an age in years for each name."""
    return [name for name, age in ages.items() if age >= minimum]


def find_age(ages, name):
    """Return the age of somebody, or None if it is not known."""
    return ages.get(name)
