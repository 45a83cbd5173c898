"""Assistants: create, find, change, go back to an earlier version, and look into the graph."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field

from project4_agent_api.assistants import introspection
from project4_agent_api.assistants.schemas import (
    AssistantCreate,
    AssistantFilter,
    AssistantPatch,
    AssistantRead,
    AssistantSchemas,
    AssistantSearch,
    AssistantSelection,
    AssistantVersionRead,
    GraphSchemas,
    VersionChoice,
    VersionSearch,
)
from project4_agent_api.assistants.service import Assistants
from project4_agent_api.core.offset_pagination import cut, selected
from project4_agent_api.graphs.registry import Graph
from project4_agent_api.runs.service import RunsDep
from project4_agent_api.store.routes import StoreDep
from project4_agent_api.threads.service import ThreadsDep
from shared.database.engine import ReadSessionDep, SessionDep, SessionsDep, transaction
from shared.errors import Conflict, DatabaseUnavailable, Forbidden, NotFound, documented
from shared.owner import CurrentOwner

router = APIRouter(prefix="/assistants", tags=["assistants"], responses=documented(DatabaseUnavailable))


async def get_assistants(request: Request, sessions: SessionsDep) -> Assistants:
    """Return the app's assistants, those that came with it stored."""
    assistants: Assistants = request.app.state.assistants
    await assistants.ensure_built_in(sessions)
    return assistants


AssistantsDep = Annotated[Assistants, Depends(get_assistants)]


@router.post("", responses=documented(NotFound, Conflict))
async def create_assistant(
    body: AssistantCreate, owner_id: CurrentOwner, assistants: AssistantsDep, session: SessionDep
) -> AssistantRead:
    """Create an assistant: a graph with settings of your own."""
    return AssistantRead.model_validate(await assistants.create(session, owner_id, body))


@router.post(
    "/search",
    response_model=list[AssistantSelection],  # type: ignore[valid-type]  # a model that was made at run time
    response_model_exclude_unset=True,
    responses=documented(NotFound),
)
async def search_assistants(
    body: AssistantSearch,
    response: Response,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    session: ReadSessionDep,
) -> Any:  # noqa: ANN401  the fields that were asked for
    """Find assistants, the newest first: your own, and those that came with the service."""
    found = await assistants.search(session, owner_id, body)
    return selected(AssistantRead, cut(found, body, response), body.select)


@router.post("/count", responses=documented(NotFound))
async def count_assistants(
    body: AssistantFilter, owner_id: CurrentOwner, assistants: AssistantsDep, session: ReadSessionDep
) -> int:
    """Count assistants."""
    return await assistants.count(session, owner_id, body)


@router.get("/{assistant_id}", responses=documented(NotFound))
async def get_assistant(
    assistant_id: UUID, owner_id: CurrentOwner, assistants: AssistantsDep, session: ReadSessionDep
) -> AssistantRead:
    """Show an assistant."""
    return AssistantRead.model_validate(await assistants.get(session, owner_id, assistant_id))


@router.patch("/{assistant_id}", responses=documented(NotFound, Forbidden))
async def update_assistant(
    assistant_id: UUID,
    body: AssistantPatch,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    session: SessionDep,
) -> AssistantRead:
    """Change what is given. The assistant has a new version then, and the one before can be set again."""
    return AssistantRead.model_validate(await assistants.update(session, owner_id, assistant_id, body))


@router.delete("/{assistant_id}", status_code=204, responses=documented(NotFound, Forbidden))
async def delete_assistant(
    assistant_id: UUID,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    threads: ThreadsDep,
    runs: RunsDep,
    sessions: SessionsDep,
    delete_threads: Annotated[
        bool, Query(description="Whether the threads whose metadata has this `assistant_id` go too.")
    ] = False,
) -> None:
    """Delete an assistant with its versions and schedules. Its runs that are not over are stopped."""
    async with transaction(sessions) as session:
        await assistants.own(session, owner_id, assistant_id)
    if delete_threads:
        await threads.delete_of(owner_id, assistant_id)
    async with transaction(sessions) as session:
        await assistants.delete(session, owner_id, assistant_id)
    await runs.stop_of(owner_id, assistant_id)


@router.post("/{assistant_id}/versions", responses=documented(NotFound))
async def list_versions(
    assistant_id: UUID,
    body: VersionSearch,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    session: ReadSessionDep,
) -> list[AssistantVersionRead]:
    """Show the versions of an assistant, the newest first."""
    found = await assistants.versions(session, owner_id, assistant_id, body)
    return [AssistantVersionRead.model_validate(version) for version in found]


@router.post("/{assistant_id}/latest", responses=documented(NotFound, Forbidden))
async def set_latest_version(
    assistant_id: UUID,
    body: VersionChoice,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    session: SessionDep,
) -> AssistantRead:
    """Go back to a version, or forth."""
    return AssistantRead.model_validate(await assistants.set_latest(session, owner_id, assistant_id, body.version))


@dataclass(frozen=True)
class LookedAt:
    """An assistant's graph, open."""

    graph_id: str
    graph: Graph


async def looked_at(
    assistant_id: Annotated[str, Path(pattern=r"^[^\x00]*$", description="An id, or the name of a graph.")],
    request: Request,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    sessions: SessionsDep,
    store: StoreDep,
) -> AsyncIterator[LookedAt]:
    """Open the graph of an assistant, as its settings have it."""
    async with transaction(sessions) as session:
        assistant = await assistants.get(session, owner_id, assistants.id_of(assistant_id))
    assistants.require_graph(assistant.graph_id)
    async with introspection.opened(request.app.state.graphs, assistant.graph_id, assistant.config, store) as graph:
        yield LookedAt(assistant.graph_id, graph)


Depth = Annotated[int, Field(ge=1, le=100)] | Literal["true", "True", "false", "False"]


@router.get("/{assistant_id}/graph", responses=documented(NotFound))
async def draw_graph(
    of: Annotated[LookedAt, Depends(looked_at)],
    xray: Annotated[Depth, Query(description="Whether to look into subgraphs, or how deep.")] = "false",
) -> dict[str, list[dict[str, Any]]]:
    """Show nodes and edges."""
    return await introspection.drawn(of.graph, xray if isinstance(xray, int) else xray.lower() == "true")


@router.get("/{assistant_id}/schemas", responses=documented(NotFound))
async def show_schemas(of: Annotated[LookedAt, Depends(looked_at)]) -> AssistantSchemas:
    """Show what goes into the graph and what comes out."""
    return AssistantSchemas(graph_id=of.graph_id, **introspection.schemas(of.graph).model_dump())


@router.get("/{assistant_id}/subgraphs", responses=documented(NotFound))
async def show_subgraphs(of: Annotated[LookedAt, Depends(looked_at)], recurse: bool = False) -> dict[str, GraphSchemas]:
    """Show what goes into each subgraph and what comes out."""
    return {where: one async for where, one in introspection.subgraphs(of.graph, None, recurse=recurse)}


@router.get("/{assistant_id}/subgraphs/{namespace}", responses=documented(NotFound))
async def show_subgraph(
    namespace: Annotated[str, Path(description="Where it is, such as `outer|inner`.")],
    of: Annotated[LookedAt, Depends(looked_at)],
    recurse: bool = False,
) -> dict[str, GraphSchemas]:
    """Show what goes into one subgraph and what comes out; nothing where there is none."""
    return {where: one async for where, one in introspection.subgraphs(of.graph, namespace, recurse=recurse)}
