"""The run view: an owner's runs, the steps of one, and one step in detail. These paths are not LangGraph's."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from project4_agent_api.core.bounded import encode_list, next_offset
from project4_agent_api.core.schemas import CheckpointId
from project4_agent_api.core.serialization import JsonResponse
from project4_agent_api.models import RunStatus
from project4_agent_api.steps.schemas import RunDetails, RunListed, Step, StepDetails
from project4_agent_api.steps.service import RunStepsDep
from shared.errors import DatabaseUnavailable, NotFound
from shared.owner import CurrentOwner
from shared.problems import error_responses
from shared.schemas import WITHOUT_NUL

router = APIRouter(prefix="/runs", tags=["run view"], responses=error_responses(DatabaseUnavailable))

RunId = Annotated[UUID, Path(description="The run's id.")]
StepId = Annotated[CheckpointId, Path(description="The checkpoint at which the step started.")]
Namespace = Annotated[
    str, Query(max_length=2000, description="The subgraph of the step; empty for the graph itself."), WITHOUT_NUL
]


@router.get("", response_model=list[RunListed])
async def list_own_runs(
    owner_id: CurrentOwner,
    steps: RunStepsDep,
    status: Annotated[RunStatus | None, Query(description="Only with this status.")] = None,
    assistant_id: Annotated[UUID | None, Query(description="Only of this assistant.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> Response:
    """List your runs, newest first. `X-Pagination-Next` is the offset of the next page, if there is one."""
    rows = await steps.list_runs(owner_id, status=status, assistant_id=assistant_id, limit=limit, offset=offset)
    return JsonResponse(await encode_list(rows), headers=next_offset(rows, offset))


@router.get("/{run_id}", responses=error_responses(NotFound))
async def get_run_details(run_id: RunId, owner_id: CurrentOwner, steps: RunStepsDep) -> RunDetails:
    """Return a run with the totals of its steps."""
    return await steps.get(owner_id, run_id)


@router.get("/{run_id}/steps", responses=error_responses(NotFound), response_model=list[Step])
async def list_run_steps(
    run_id: RunId,
    owner_id: CurrentOwner,
    steps: RunStepsDep,
    after: Annotated[CheckpointId | None, Query(description="Only steps that started after this checkpoint.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> Response:
    """List steps of a run in the order in which they started. `X-Pagination-Next` is the `after` of the next page."""
    page = await steps.list_steps(owner_id, run_id, after=after, limit=limit)
    headers = {"X-Pagination-Next": page[-1].checkpoint_id} if page.cut else {}
    return JsonResponse([step.model_dump() for step in page], headers=headers)


@router.get("/{run_id}/steps/{checkpoint_id}", responses=error_responses(NotFound))
async def get_run_step(
    run_id: RunId, checkpoint_id: StepId, owner_id: CurrentOwner, steps: RunStepsDep, namespace: Namespace = ""
) -> StepDetails:
    """Return a step in detail: its input, what its nodes wrote, and the difference to the state."""
    return await steps.get_step(owner_id, run_id, namespace, checkpoint_id)
