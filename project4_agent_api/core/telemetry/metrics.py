"""Every metric of the service. Whoever watches it knows it by these names: a dashboard, alert rules, people.

Each app has a registry of its own, so that several live in one process. A label's values are few and known: the
template of a route and never its path; names that come from elsewhere (of tools and models) are counted one by one up
to a number, and as `other` beyond it.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector

_MOST_NAMES = 50
OTHER = "other"
UNMATCHED = "unmatched"  # in place of a route's template: there is none
REFUSED = "refused"  # likewise: the lock has not even looked for one

_ANSWERS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RUNS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
_LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)

# Why a run is begun again: its worker died or could not reach the database for too long, or it was told to end.
REQUEUED_LOST, REQUEUED_DRAINED = "lost", "drained"
# What became of a webhook's call.
WEBHOOK_DELIVERED, WEBHOOK_RETRIED, WEBHOOK_GIVEN_UP = "called", "later", "given_up"
OK, ERROR = "ok", "error"


class LabelValues:
    """Lets so many different values of a label through, and calls the others `other`.

    Args:
        known: Values that are let through in any case.
        most: How many more.
    """

    def __init__(self, known: Iterable[str] = (), most: int = _MOST_NAMES) -> None:
        self._known = set(known)
        self._most = len(self._known) + most

    def label_for(self, value: str) -> str:
        """Return what a value is counted as."""
        if value not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(value)
        return value


class Metrics:
    """What one app counts.

    Attributes:
        registry: Of all of it.
        models: Names of models.
        tools: Names of tools.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.model_names, self.tool_names = LabelValues(), LabelValues()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

        self.requests = self._counter("agent_http_requests", "Requests.", "method", "route", "status")
        self.response_time = self._histogram(
            "agent_http_answer_seconds", "Until an answer began; streams go on after that.", _ANSWERS, "method", "route"
        )
        self.in_flight = self._gauge("agent_http_requests_in_flight", "Requests whose answer is not complete.")
        self.loop_lag = self._histogram(
            "agent_event_loop_lag_seconds", "How late the event loop was, looked at twice a second.", _LAG
        )

        self.runs_stored = self._counter("agent_runs_stored", "Runs that were asked for.", "graph")
        self.run_queue_time = self._histogram(
            "agent_run_queue_seconds", "From when a run was due until a worker first took it.", _RUNS, "graph"
        )
        self.run_first_token = self._histogram(
            "agent_run_first_token_seconds", "From when a run was due until its first token.", _RUNS, "graph"
        )
        self.run_time = self._histogram(
            "agent_run_seconds", "From when a worker took a run until its end was stored.", _RUNS, "graph", "status"
        )
        self.runs_requeued = self._counter("agent_runs_begun_again", "Runs that went back to the queue.", "reason")
        for reason in (REQUEUED_LOST, REQUEUED_DRAINED):
            self.runs_requeued.labels(reason)
        self.runs_abandoned = self._counter("agent_runs_abandoned", "Runs whose workers died too often.")
        self.leases_held = self._gauge("agent_leases_held", "Runs that this worker executes.")
        self.slots = self._gauge("agent_worker_slots", "Runs that this worker executes at once, at most.")
        self.leases_extended = self._counter("agent_leases_extended", "Leases that were extended.")
        self.leases_lost = self._counter("agent_leases_lost", "Runs that another worker took from this one.")

        self.model_calls = self._histogram(
            "agent_model_call_seconds", "How long calls of chat models took.", _RUNS, "model", "outcome"
        )
        self.model_first_token = self._histogram(
            "agent_model_first_token_seconds", "Until the first token of a call that is streamed.", _ANSWERS, "model"
        )
        self.tokens = self._counter("agent_model_tokens", "Tokens, as models count them.", "model", "direction")
        self.tool_calls = self._histogram(
            "agent_tool_call_seconds", "How long calls of tools took.", _ANSWERS, "tool", "outcome"
        )

        self.webhooks = self._counter("agent_webhook_calls", "Calls of webhooks.", "outcome")
        for outcome in (WEBHOOK_DELIVERED, WEBHOOK_RETRIED, WEBHOOK_GIVEN_UP):
            self.webhooks.labels(outcome)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)
