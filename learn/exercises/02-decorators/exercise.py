"""A decorator: a function that takes a function, and returns another one."""


def shout(function):
    """Make the text that a function returns upper case."""

    def wrapper(name):
        # TODO: Call `function` with the name, and return its result in upper case.
        #       用 name 调用 function，返回大写的结果。
        return ""

    return wrapper


def register(routes):
    """Return a decorator that stores a function in `routes` under its name."""

    def decorator(function):
        # TODO: Store the function, and return it unchanged.
        #       存好这个函数，并原样返回。
        return None

    return decorator


ROUTES = {}


@shout
def greet(name):
    return f"hello {name}"


@register(ROUTES)
def health():
    return "ok"
