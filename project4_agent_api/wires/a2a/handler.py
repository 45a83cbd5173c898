"""The methods of A2A: send a message to an assistant, stream, read, list and cancel tasks."""
# ruff: noqa: ARG002  the SDK names the parameters of the methods that are refused

from collections.abc import AsyncGenerator
from contextlib import aclosing

from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import a2a_pb2 as a2a
from a2a.utils import errors

from project4_agent_api.wires.a2a.calls import Call, translated_errors
from shared.errors import NotFound


class Handler(RequestHandler):
    """The methods, for the assistant in the path of a request."""

    async def on_message_send(self, params: a2a.SendMessageRequest, context: ServerCallContext) -> a2a.Task:
        """Start a task, or continue one, and wait for its end unless the client does not want to wait."""
        call = Call.from_context(context)
        with translated_errors():
            body, thread_id, task_id = await call.read(params)
            async with call.conversations.start(body, thread_id) as run:
                task_id = task_id or run.key.run_id
                if not params.configuration.return_immediately:
                    async with aclosing(run.items()) as items:
                        async for _ in items:
                            pass
            return await call.task(task_id, params.configuration)

    async def on_message_send_stream(
        self, params: a2a.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """Start a task, or continue one, and stream what happens."""
        call = Call.from_context(context)
        with translated_errors():
            body, thread_id, task_id = await call.read(params)
            async with call.conversations.start(body, thread_id) as run:
                async for event in call.follow(run, task_id or run.key.run_id, params.configuration):
                    yield event

    async def on_subscribe_to_task(
        self, params: a2a.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """Stream a task that is not over, from its beginning."""
        call = Call.from_context(context)
        with translated_errors():
            stored = await call.find(params.id)
            if stored.is_over:
                raise errors.UnsupportedOperationError("The task has ended. Read it with GetTask.")
            if stored.waits:
                yield await call.task(stored.key.run_id)
                return
            async with call.conversations.join(stored.key.thread_id, stored.last_run_id) as run:
                async for event in call.follow(run, stored.key.run_id):
                    yield event

    async def on_get_task(self, params: a2a.GetTaskRequest, context: ServerCallContext) -> a2a.Task:
        """Return a task."""
        call = Call.from_context(context)
        with translated_errors():
            return await call.task((await call.find(params.id)).key.run_id, params)

    async def on_list_tasks(self, params: a2a.ListTasksRequest, context: ServerCallContext) -> a2a.ListTasksResponse:
        """Return a page of the assistant's tasks, newest first."""
        call = Call.from_context(context)
        with translated_errors():
            return await call.list(params)

    async def on_cancel_task(self, params: a2a.CancelTaskRequest, context: ServerCallContext) -> a2a.Task:
        """Stop a task's run, and return the task."""
        call = Call.from_context(context)
        with translated_errors():
            stored = await call.find(params.id)
            if stored.is_over or stored.waits:
                raise errors.TaskNotCancelableError
            async with call.conversations.join(stored.key.thread_id, stored.last_run_id) as run:
                try:
                    await call.conversations.stop(stored.key.thread_id, stored.last_run_id)
                except NotFound:
                    raise errors.TaskNotCancelableError from None
                async with aclosing(run.items()) as items:
                    async for _ in items:
                        pass
            return await call.task(stored.key.run_id)

    async def on_create_task_push_notification_config(
        self, params: a2a.TaskPushNotificationConfig, context: ServerCallContext
    ) -> a2a.TaskPushNotificationConfig:
        """Refuse: the agent card declares no push notifications."""
        raise errors.PushNotificationNotSupportedError

    async def on_get_task_push_notification_config(
        self, params: a2a.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> a2a.TaskPushNotificationConfig:
        """Refuse: the agent card declares no push notifications."""
        raise errors.PushNotificationNotSupportedError

    async def on_list_task_push_notification_configs(
        self, params: a2a.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> a2a.ListTaskPushNotificationConfigsResponse:
        """Refuse: the agent card declares no push notifications."""
        raise errors.PushNotificationNotSupportedError

    async def on_delete_task_push_notification_config(
        self, params: a2a.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Refuse: the agent card declares no push notifications."""
        raise errors.PushNotificationNotSupportedError

    async def on_get_extended_agent_card(
        self, params: a2a.GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> a2a.AgentCard:
        """Refuse: the agent card declares no extended card."""
        raise errors.ExtendedAgentCardNotConfiguredError
