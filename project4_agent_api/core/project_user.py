"""The user of a request that a project's own code has authenticated."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langgraph_sdk import Auth


class ProjectUser:
    """A user, from the value of an `@auth.authenticate` handler: a name, a mapping, or an object with an `identity`.

    Handlers get it as `ctx.user`, with the interface that LangGraph documents: attributes, keys, and defaults for the
    optional ones.
    """

    def __init__(self, value: Any, permissions: Sequence[str] | None = None) -> None:  # noqa: ANN401  any of the above
        self._values = {"identity": value} if isinstance(value, str) else _values_of(value)
        identity = self._values.get("identity")
        if not isinstance(identity, str) or not identity:
            raise TypeError("the user has no `identity` that is a string")
        self._object = value
        self.identity = identity
        self.display_name = str(self._values.get("display_name") or identity)
        self.is_authenticated = bool(self._values.get("is_authenticated", True))
        given = self._values.get("permissions") if permissions is None else permissions
        self.permissions = list(given or [])

    def to_json(self) -> dict[str, Any]:
        """Return the user as JSON. Values that have no JSON form become text."""
        values = self._values | {
            "identity": self.identity,
            "display_name": self.display_name,
            "is_authenticated": self.is_authenticated,
            "permissions": self.permissions,
        }
        encoded: dict[str, Any] = json.loads(json.dumps(values, default=str))
        return encoded

    def for_handlers(self) -> Any:  # noqa: ANN401  LangGraph's protocol of users
        """Return the user that handlers get; Studio's as it is, since they check for its class."""
        return self._object if isinstance(self._object, Auth.types.StudioUser) else self

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401  a mapping's own signature
        """Return a value of the user."""
        return self._all().get(key, default)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  any attribute
        """Return an attribute that the handler's value has."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._values:
            return self._values[name]
        return getattr(self._object, name)

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401  a mapping's own signature
        """Return a value of the user."""
        return self._all()[key]

    def __contains__(self, key: object) -> bool:
        """Return whether the user has a value."""
        return key in self._all()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the user's values."""
        return iter(self._all())

    def _all(self) -> dict[str, Any]:
        own = ("identity", "display_name", "is_authenticated", "permissions")
        return self._values | {name: getattr(self, name) for name in own}


def _values_of(value: Any) -> dict[str, Any]:  # noqa: ANN401  any object
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Auth.types.StudioUser):
        return {name: getattr(value, name) for name in ("identity", "display_name", "is_authenticated", "permissions")}
    for method in ("model_dump", "dict", "_asdict"):
        if callable(convert := getattr(value, method, None)):
            return {"identity": getattr(value, "identity", None)} | dict(convert())
    names = ("identity", "display_name", "is_authenticated", "permissions")
    return dict(getattr(value, "__dict__", {})) | {name: getattr(value, name) for name in names if hasattr(value, name)}
