"""A request for a run, and the run that it becomes."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from project4_agent_api.assistants.resolution import ResolvedAssistant
from project4_agent_api.core.idempotency_keys import Claim
from project4_agent_api.core.run_context import run_configurable
from project4_agent_api.core.schemas import is_server_key
from project4_agent_api.runs.repository import NewRun
from project4_agent_api.runs.schemas import ProtocolRun, RunCreate, StatelessRunCreate
from project4_agent_api.runs.spec import RunKey, RunSpec


@dataclass(frozen=True)
class RunRequest:
    """A request for a run. Its ids are chosen before it is stored, so that its client can subscribe first."""

    body: RunCreate
    key: RunKey
    request_id: str | None
    claim: Claim | None = None

    @classmethod
    def new(
        cls,
        body: RunCreate,
        owner_id: UUID,
        thread_id: UUID | None = None,
        request_id: str | None = None,
        claim: Claim | None = None,
    ) -> "RunRequest":
        """Choose the ids of a run. Requests with the same `Idempotency-Key` have the same run id.

        Raises:
            InvalidRequest: if the configuration is of another thread.
        """
        if body.config:
            body.config.require_thread(thread_id)
        key = RunKey(owner_id, thread_id or uuid7(), claim.created_id if claim else uuid7())
        return cls(body, key, request_id, claim)

    @property
    def stateless(self) -> bool:
        """Whether the thread is created for this run."""
        return isinstance(self.body, StatelessRunCreate)

    @property
    def multitask_strategy(self) -> str:
        """The treatment of unfinished runs of the thread."""
        return self.body.multitask_strategy or "enqueue"

    def to_run(self, assistant: ResolvedAssistant) -> NewRun:
        """Combine the request with the settings of its assistant.

        Raises:
            InvalidRequest: if the checkpoint belongs to another thread.
        """
        body = self.body
        return NewRun(
            key=self.key,
            assistant_id=assistant.assistant_id,
            base_metadata=assistant.metadata,
            metadata=((body.config and body.config.metadata) or {}) | (body.metadata or {}),
            spec=self._spec(assistant),
            multitask_strategy=self.multitask_strategy,
            request_id=self.request_id,
            after_seconds=body.after_seconds or 0,
            create_thread=self.stateless or body.if_not_exists == "create",
        )

    def _spec(self, assistant: ResolvedAssistant) -> RunSpec:
        body, key = self.body, self.key
        config = body.config.model_dump(exclude_none=True) if body.config else {}
        values = config.get("configurable") or body.context or {}  # they are the same, in an older and a newer form
        metadata = (assistant.config.get("metadata") or {}) | config.get("metadata", {})
        configurable = {
            **(assistant.config.get("configurable") or {}),
            **{name: value for name, value in values.items() if not is_server_key(name)},
            **self._checkpoint(),
            **({"__pregel_strict_resume": True} if body.strict_resume else {}),
            "thread_id": str(key.thread_id),
            "run_id": str(key.run_id),
            "graph_id": assistant.graph_id,
            "assistant_id": str(assistant.assistant_id),
            "langgraph_auth_user_id": str(key.owner_id),
            **run_configurable(),
        }
        return RunSpec(
            input=body.input,
            command=body.command.model_dump(exclude_none=True) if body.command else None,
            config=assistant.config | config | {"configurable": configurable, "metadata": metadata},
            context=assistant.context | values,
            stream_mode=body.stream_modes(),
            subgraphs=bool(body.stream_subgraphs),
            protocol=isinstance(body, ProtocolRun),
            interrupt_before=body.interrupt_before,
            interrupt_after=body.interrupt_after,
            durability=body.effective_durability(),
            webhook=body.webhook,
            temporary=isinstance(body, StatelessRunCreate) and body.on_completion != "keep",
            feedback_keys=body.feedback_keys,
        )

    def _checkpoint(self) -> dict[str, Any]:
        """Return LangGraph's configuration of the checkpoint from which the run starts."""
        body = self.body
        checkpoint = body.checkpoint.configurable(self.key.thread_id) if body.checkpoint else {}
        in_config = body.config.checkpoint_id if body.config and not self.stateless and not checkpoint else None
        checkpoint_id = body.checkpoint_id or in_config
        return checkpoint | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})
