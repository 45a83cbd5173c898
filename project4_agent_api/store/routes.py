"""What is remembered across threads: put, get, delete, search."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

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
from shared.errors import (
    DatabaseUnavailable,
    InputTooLongForModel,
    ModelTimeout,
    ModelUnavailable,
    NotReady,
    documented,
)
from shared.owner import CurrentOwner

router = APIRouter(prefix="/store", tags=["store"], responses=documented(DatabaseUnavailable))

_MODEL_ERRORS = documented(InputTooLongForModel, ModelUnavailable, DatabaseUnavailable, NotReady, ModelTimeout)
_LABELS = TypeAdapter(Labels)


async def get_store(request: Request, owner_id: CurrentOwner) -> OwnedStore:
    """Return what whoever asks remembers."""
    store: SharedStore = request.app.state.store
    return store.of(owner_id)


StoreDep = Annotated[OwnedStore, Depends(get_store)]


async def dotted_namespace(
    namespace: Annotated[str, Query(description="Its labels, with dots between them.", examples=["memories.cooking"])],
) -> tuple[str, ...]:
    """Return a namespace as the store has it."""
    try:
        return tuple(_LABELS.validate_python(namespace.split(".")))
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("query", "namespace")} for one in error.errors(include_url=False)]
        ) from None


@router.put("/items", status_code=204, responses=_MODEL_ERRORS)
async def put_item(body: ItemPut, store: StoreDep) -> None:
    """Remember something, in place of what is there under this key."""
    await store.aput(tuple(body.namespace), body.key, body.value, index=body.index, ttl=body.ttl)


@router.get("/items")
async def get_item(
    namespace: Annotated[tuple[str, ...], Depends(dotted_namespace)],
    key: Annotated[Key, Query()],
    store: StoreDep,
    refresh_ttl: Annotated[bool | None, Query(description="Whether it lives on as if it were new.")] = None,
) -> ItemRead | None:
    """Show what is remembered under a key; null where there is nothing."""
    item = await store.aget(namespace, key, refresh_ttl=refresh_ttl)
    return ItemRead.model_validate(item) if item else None


@router.delete("/items", status_code=204)
async def delete_item(body: ItemDelete, store: StoreDep) -> None:
    """Forget what is remembered under a key, if there is anything."""
    await store.adelete(tuple(body.namespace), body.key)


@router.post("/items/search", responses=_MODEL_ERRORS)
async def search_items(body: ItemSearch, store: StoreDep) -> FoundItems:
    """Find what is remembered, by its place, its fields and its meaning."""
    found = await store.asearch(
        tuple(body.namespace_prefix or ()),
        query=body.query or None,
        filter=body.filter,
        limit=body.limit or 10,
        offset=body.offset or 0,
        refresh_ttl=body.refresh_ttl,
    )
    return FoundItems(items=[FoundItem.model_validate(item) for item in found])


@router.post("/namespaces")
async def list_namespaces(body: NamespaceSearch, store: StoreDep) -> Namespaces:
    """Show where something is remembered."""
    found = await store.alist_namespaces(
        prefix=tuple(body.prefix) if body.prefix else None,
        suffix=tuple(body.suffix) if body.suffix else None,
        max_depth=body.max_depth,
        limit=body.limit or 100,
        offset=body.offset or 0,
    )
    return Namespaces(namespaces=[list(namespace) for namespace in found])
