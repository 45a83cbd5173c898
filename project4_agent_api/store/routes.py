"""Items of the store: put, get, delete and search them; list their namespaces."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.exceptions import RequestValidationError
from langgraph.store.base import NOT_PROVIDED, SearchOp
from pydantic import TypeAdapter, ValidationError

from project4_agent_api.core.bounded import encode_list, next_offset
from project4_agent_api.core.json_route import JsonRoute
from project4_agent_api.core.serialization import JsonResponse
from project4_agent_api.core.state import from_state
from project4_agent_api.store.schemas import (
    FoundItem,
    FoundItems,
    ItemDelete,
    ItemPut,
    ItemRead,
    ItemSearch,
    Key,
    Labels,
    Namespaces,
    NamespaceSearch,
)
from project4_agent_api.store.service import OwnedStore, SharedStore
from shared.errors import MODEL_ERRORS, DatabaseUnavailable, NotReady, StorageQuotaExceeded
from shared.owner import CurrentOwner
from shared.problems import error_responses

router = APIRouter(
    route_class=JsonRoute, prefix="/store", tags=["store"], responses=error_responses(DatabaseUnavailable)
)

_MODEL_ERRORS = error_responses(*MODEL_ERRORS, DatabaseUnavailable, NotReady)
_LABELS = TypeAdapter(Labels)


async def get_store(
    store: Annotated[SharedStore, Depends(from_state(SharedStore))], owner_id: CurrentOwner
) -> OwnedStore:
    """Return the caller's store."""
    return store.for_owner(owner_id)


StoreDep = Annotated[OwnedStore, Depends(get_store)]


async def dotted_namespace(
    namespace: Annotated[
        str, Query(description="The namespace's labels, separated by dots.", examples=["memories.cooking"])
    ],
) -> tuple[str, ...]:
    """Parse the namespace in the query."""
    try:
        return tuple(_LABELS.validate_python(namespace.split(".")))
    except ValidationError as error:
        raise RequestValidationError(
            [{**detail, "loc": ("query", "namespace")} for detail in error.errors(include_url=False)]
        ) from None


@router.put("/items", status_code=204, responses=_MODEL_ERRORS | error_responses(StorageQuotaExceeded))
async def put_item(body: ItemPut, store: StoreDep) -> None:
    """Store an item. It replaces an item with the same namespace and key."""
    await store.aput(
        tuple(body.namespace),
        body.key,
        body.value,
        index=body.index,
        ttl=body.ttl if "ttl" in body.model_fields_set else NOT_PROVIDED,
    )


@router.get("/items")
async def get_item(
    namespace: Annotated[tuple[str, ...], Depends(dotted_namespace)],
    key: Annotated[Key, Query()],
    store: StoreDep,
    refresh_ttl: Annotated[
        bool | None, Query(description="Whether reading the item renews its time to live. Default: true.")
    ] = None,
) -> ItemRead | None:
    """Return an item, or null if there is none with this key."""
    item = await store.aget(namespace, key, refresh_ttl=refresh_ttl)
    return ItemRead.model_validate(item) if item else None


@router.delete("/items", status_code=204)
async def delete_item(body: ItemDelete, store: StoreDep) -> None:
    """Delete an item, if it exists."""
    await store.adelete(tuple(body.namespace), body.key)


@router.post("/items/search", responses=_MODEL_ERRORS, response_model=FoundItems)
async def search_items(body: ItemSearch, store: StoreDep) -> Response:
    """Search items by namespace, by fields and by meaning."""
    refreshes = (store.ttl_config or {}).get("refresh_on_read", True)
    search = SearchOp(
        tuple(body.namespace_prefix or ()),
        filter=body.filter,
        limit=body.limit or 10,
        offset=body.offset or 0,
        query=body.query or None,
        refresh_ttl=refreshes if body.refresh_ttl is None else body.refresh_ttl,
    )
    found = await store.search_rows(search)
    items = await encode_list({name: row[name] for name in FoundItem.model_fields} for row in found)
    return JsonResponse(b'{"items":' + items + b"}", headers=next_offset(found, search.offset))


@router.post("/namespaces")
async def list_namespaces(body: NamespaceSearch, store: StoreDep) -> Namespaces:
    """List the namespaces that contain items."""
    found = await store.alist_namespaces(
        prefix=tuple(body.prefix) if body.prefix else None,
        suffix=tuple(body.suffix) if body.suffix else None,
        max_depth=body.max_depth,
        limit=body.limit or 100,
        offset=body.offset or 0,
    )
    return Namespaces(namespaces=[list(namespace) for namespace in found])
