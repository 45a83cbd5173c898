"""The path of a request behind a proxy that serves the application below a prefix, and passes it on or removes it."""

import pytest

from shared.paths import route_path


@pytest.mark.parametrize(
    ("root_path", "path", "expected"),
    [
        ("", "/users", "/users"),
        ("/a", "/a/users", "/users"),
        ("/a", "/a", ""),
        ("/a", "/users", "/users"),
        ("/a", "/assistants", "/assistants"),
        ("/a/b", "/a/bc", "/a/bc"),
    ],
)
def test_prefix_is_removed_in_front_of_a_slash(root_path: str, path: str, expected: str) -> None:
    assert route_path({"path": path, "root_path": root_path}) == expected
    assert route_path({"path": path}) == path
