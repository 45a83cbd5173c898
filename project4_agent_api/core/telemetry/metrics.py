"""Every metric of the service. The dashboard and the alert rules depend on these names.

Each app has its own registry, so that several apps can run in one process. The number of label values is bounded: a
request is counted by the template of its route, never by its path, and the names of tools and models beyond a maximum
are counted as `other`.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector

_MAX_NAMES = 50
OTHER = "other"
UNMATCHED = "unmatched"  # no route matched
REFUSED = "refused"  # rejected by a guard before routing

_CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RUN_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
_LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)

# Reasons for requeuing a run: its worker died or lost the database for too long, or its worker was shut down.
REQUEUED_LOST, REQUEUED_DRAINED = "lost", "drained"
# Outcomes of a webhook's call.
WEBHOOK_DELIVERED, WEBHOOK_RETRIED, WEBHOOK_GIVEN_UP = "called", "later", "given_up"
OK, ERROR = "ok", "error"


class LabelValues:
    """A bounded set of values for a label.

    Args:
        known: Values that are always in the set.
    """

    def __init__(self, known: Iterable[str] = (), extra: int = _MAX_NAMES) -> None:
        self._known = set(known)
        self._max = len(self._known) + extra

    def label_for(self, value: str) -> str:
        """Return the label of a value: itself, or `other` if the set is full."""
        if value not in self._known:
            if len(self._known) >= self._max:
                return OTHER
            self._known.add(value)
        return value


class Metrics:
    """The metrics of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.model_names, self.tool_names = LabelValues(), LabelValues()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

        self.requests = self._counter("agent_http_requests", "Requests.", "method", "route", "status")
        self.response_time = self._histogram(
            "agent_http_answer_seconds", "Time until a response started.", _CALL_SECONDS, "method", "route"
        )
        self.in_flight = self._gauge("agent_http_requests_in_flight", "Requests whose response is not complete.")
        self.loop_lag = self._histogram(
            "agent_event_loop_lag_seconds", "Delay of the event loop, measured twice a second.", _LAG_SECONDS
        )

        self.runs_stored = self._counter("agent_runs_stored", "Runs that were stored.", "graph")
        self.run_queue_time = self._histogram(
            "agent_run_queue_seconds", "Time from a run's due date until its first claim.", _RUN_SECONDS, "graph"
        )
        self.run_first_token = self._histogram(
            "agent_run_first_token_seconds", "Time from a run's due date until its first token.", _RUN_SECONDS, "graph"
        )
        self.run_time = self._histogram(
            "agent_run_seconds", "Time from a run's claim until its result was stored.", _RUN_SECONDS, "graph", "status"
        )
        self.runs_requeued = self._counter("agent_runs_begun_again", "Runs that were requeued.", "reason")
        for reason in (REQUEUED_LOST, REQUEUED_DRAINED):
            self.runs_requeued.labels(reason)
        self.runs_abandoned = self._counter("agent_runs_abandoned", "Runs whose workers died too often.")
        self.leases_held = self._gauge("agent_leases_held", "Runs that this worker is executing.")
        self.slots = self._gauge("agent_worker_slots", "Maximum number of runs that this worker executes at once.")
        self.leases_extended = self._counter("agent_leases_extended", "Leases that were extended.")
        self.leases_lost = self._counter("agent_leases_lost", "Runs of this worker that another worker has claimed.")

        self.model_calls = self._histogram(
            "agent_model_call_seconds", "Duration of chat model calls in seconds.", _RUN_SECONDS, "model", "outcome"
        )
        self.model_first_token = self._histogram(
            "agent_model_first_token_seconds",
            "Seconds until the first token of a streamed call.",
            _CALL_SECONDS,
            "model",
        )
        self.tokens = self._counter("agent_model_tokens", "Tokens, as counted by the models.", "model", "direction")
        self.tool_calls = self._histogram(
            "agent_tool_call_seconds", "Duration of tool calls in seconds.", _CALL_SECONDS, "tool", "outcome"
        )

        self.webhooks = self._counter("agent_webhook_calls", "Webhook calls.", "outcome")
        for outcome in (WEBHOOK_DELIVERED, WEBHOOK_RETRIED, WEBHOOK_GIVEN_UP):
            self.webhooks.labels(outcome)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)
