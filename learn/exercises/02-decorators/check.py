def test_result_is_upper_case(exercise):
    assert exercise.greet("ada") == "HELLO ADA"


def test_decorator_wraps_any_function(exercise):
    assert exercise.shout(lambda name: name[::-1])("abc") == "CBA"


def test_function_is_registered(exercise):
    assert list(exercise.ROUTES) == ["health"]


def test_registered_function_is_unchanged(exercise):
    assert exercise.health is exercise.ROUTES["health"]
    assert exercise.health() == "ok"
