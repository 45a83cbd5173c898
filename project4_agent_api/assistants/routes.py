"""Routes of assistants: create, search, change, restore an earlier version, and inspect the graph."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
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
from project4_agent_api.core.bounded import next_offset
from project4_agent_api.core.json_route import JsonRoute
from project4_agent_api.core.offset_pagination import select_fields, trim_page
from project4_agent_api.core.state import from_state
from project4_agent_api.core.storage import RequireStorage
from project4_agent_api.graphs.registry import Graph, Graphs
from project4_agent_api.store.routes import StoreDep
from shared.database.engine import ReadSessionDep, SessionDep, SessionsDep, transaction
from shared.errors import Conflict, DatabaseUnavailable, Forbidden, NotFound, StorageQuotaExceeded
from shared.owner import CurrentOwner
from shared.problems import error_responses

router = APIRouter(
    route_class=JsonRoute, prefix="/assistants", tags=["assistants"], responses=error_responses(DatabaseUnavailable)
)


async def get_assistants(
    assistants: Annotated[Assistants, Depends(from_state(Assistants))], sessions: SessionsDep
) -> Assistants:
    """Return the app's assistants, after the built-in ones are stored."""
    await assistants.ensure_built_in(sessions)
    return assistants


AssistantsDep = Annotated[Assistants, Depends(get_assistants)]


@router.post("", dependencies=[RequireStorage], responses=error_responses(NotFound, Conflict, StorageQuotaExceeded))
async def create_assistant(
    body: AssistantCreate, owner_id: CurrentOwner, assistants: AssistantsDep, session: SessionDep
) -> AssistantRead:
    """Create an assistant: a graph with your own settings."""
    return AssistantRead.model_validate(await assistants.create(session, owner_id, body))


@router.post(
    "/search",
    response_model=list[AssistantSelection],  # type: ignore[valid-type]  # a model that is created at run time
    response_model_exclude_unset=True,
    responses=error_responses(NotFound),
)
async def search_assistants(
    body: AssistantSearch,
    response: Response,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    session: ReadSessionDep,
) -> Any:  # noqa: ANN401  the selected fields
    """Search your own and the built-in assistants, newest first."""
    found = await assistants.search(session, owner_id, body)
    return select_fields(AssistantRead, trim_page(found, body, response), body.select)


@router.post("/count", responses=error_responses(NotFound))
async def count_assistants(
    body: AssistantFilter, owner_id: CurrentOwner, assistants: AssistantsDep, session: ReadSessionDep
) -> int:
    """Count assistants."""
    return await assistants.count(session, owner_id, body)


@router.get("/{assistant_id}", responses=error_responses(NotFound))
async def get_assistant(
    assistant_id: UUID, owner_id: CurrentOwner, assistants: AssistantsDep, session: ReadSessionDep
) -> AssistantRead:
    """Return an assistant."""
    return AssistantRead.model_validate(await assistants.get(session, owner_id, assistant_id))


@router.patch(
    "/{assistant_id}",
    dependencies=[RequireStorage],
    responses=error_responses(NotFound, Forbidden, StorageQuotaExceeded),
)
async def update_assistant(
    assistant_id: UUID,
    body: AssistantPatch,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    session: SessionDep,
) -> AssistantRead:
    """Change the given fields. This creates a new version; the previous one can be restored."""
    return AssistantRead.model_validate(await assistants.update(session, owner_id, assistant_id, body))


@router.delete("/{assistant_id}", status_code=204, responses=error_responses(NotFound, Forbidden))
async def delete_assistant(
    assistant_id: UUID,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    sessions: SessionsDep,
    delete_threads: Annotated[
        bool, Query(description="Whether to delete the threads whose metadata has this `assistant_id` as well.")
    ] = False,
) -> None:
    """Delete an assistant with its versions and crons, and cancel its unfinished runs."""
    await assistants.delete(sessions, owner_id, assistant_id, delete_threads=delete_threads)


@router.post("/{assistant_id}/versions", responses=error_responses(NotFound))
async def list_versions(
    assistant_id: UUID,
    body: VersionSearch,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    session: ReadSessionDep,
    response: Response,
) -> list[AssistantVersionRead]:
    """List the versions of an assistant, newest first."""
    found = await assistants.list_versions(session, owner_id, assistant_id, body)
    response.headers.update(next_offset(found, body.offset or 0))
    return [AssistantVersionRead.model_validate(version) for version in found]


@router.post("/{assistant_id}/latest", responses=error_responses(NotFound, Forbidden))
async def set_latest_version(
    assistant_id: UUID,
    body: VersionChoice,
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    session: SessionDep,
) -> AssistantRead:
    """Restore a version of an assistant."""
    return AssistantRead.model_validate(
        await assistants.set_latest_version(session, owner_id, assistant_id, body.version)
    )


@dataclass(frozen=True)
class OpenGraph:
    """The open graph of an assistant."""

    graph_id: str
    graph: Graph


async def open_assistant_graph(
    assistant_id: Annotated[str, Path(pattern=r"^[^\x00]*$", description="An assistant's id, or the name of a graph.")],
    graphs: Annotated[Graphs, Depends(from_state(Graphs))],
    owner_id: CurrentOwner,
    assistants: AssistantsDep,
    sessions: SessionsDep,
    store: StoreDep,
) -> AsyncIterator[OpenGraph]:
    """Open an assistant's graph with the assistant's settings."""
    async with transaction(sessions) as session:
        assistant = await assistants.get(session, owner_id, assistants.parse_id(assistant_id))
    assistants.require_graph(assistant.graph_id)
    async with introspection.open_graph(graphs, assistant.graph_id, assistant.config, store) as graph:
        yield OpenGraph(assistant.graph_id, graph)


Depth = Annotated[int, Field(ge=1, le=100)] | Literal["true", "True", "false", "False"]


@router.get("/{assistant_id}/graph", responses=error_responses(NotFound))
async def draw_graph(
    opened: Annotated[OpenGraph, Depends(open_assistant_graph)],
    xray: Annotated[Depth, Query(description="Whether to expand subgraphs, or to which depth.")] = "false",
) -> dict[str, list[dict[str, Any]]]:
    """Return the graph's nodes and edges."""
    return await introspection.draw(opened.graph, xray if isinstance(xray, int) else xray.lower() == "true")


@router.get("/{assistant_id}/schemas", responses=error_responses(NotFound))
async def show_schemas(opened: Annotated[OpenGraph, Depends(open_assistant_graph)]) -> AssistantSchemas:
    """Return the schemas of the graph's input, output, state and settings."""
    return AssistantSchemas(graph_id=opened.graph_id, **introspection.schemas(opened.graph).model_dump())


@router.get("/{assistant_id}/subgraphs", responses=error_responses(NotFound))
async def show_subgraphs(
    opened: Annotated[OpenGraph, Depends(open_assistant_graph)], recurse: bool = False
) -> dict[str, GraphSchemas]:
    """Return the schemas of each subgraph."""
    return {path: schemas async for path, schemas in introspection.subgraphs(opened.graph, None, recurse=recurse)}


@router.get("/{assistant_id}/subgraphs/{namespace}", responses=error_responses(NotFound))
async def show_subgraph(
    namespace: Annotated[str, Path(description="The subgraph's namespace, such as `outer|inner`.")],
    opened: Annotated[OpenGraph, Depends(open_assistant_graph)],
    recurse: bool = False,
) -> dict[str, GraphSchemas]:
    """Return the schemas of one subgraph; an empty object if it does not exist."""
    return {path: schemas async for path, schemas in introspection.subgraphs(opened.graph, namespace, recurse=recurse)}
