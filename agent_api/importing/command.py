"""`agent-api import`: copy the data of one user from another server of LangGraph's API into this service.

Resources keep their ids, except crons. Existing ones are not changed, so an interrupted import can be repeated.
"""

import argparse
import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import httpx2
from loguru import logger

from agent_api.importing.source import Json, Source
from agent_api.importing.target import NotImported, Target
from agent_api.project import environment_of_running_services
from project4_agent_api.aliases import apply_aliases
from project4_agent_api.app_state import ApiState
from project4_agent_api.core.state import find
from project4_agent_api.main import create_app
from project4_agent_api.settings import Settings
from shared.database.engine import transaction
from shared.errors import ConfigurationError, NotFound
from shared.owner import LOCAL_OWNER_ID
from shared.settings import load_settings

_SIDE_BY_SIDE = 8  # threads at once
_SHOWN = 20  # reasons in the report
_SECONDS = 60.0
_KINDS = ("assistants", "threads", "items", "crons")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--from", dest="source", required=True, metavar="URL", help="address of the other server")
    parser.add_argument("--key", help="its API key, sent as X-Api-Key; default: the variable IMPORT_KEY")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help="a header for it")
    parser.add_argument("--account", metavar="EMAIL", help="the account that gets the data")
    parser.add_argument("--only", action="append", choices=_KINDS, help="only this kind; can be repeated")


@dataclass
class Report:
    """Counts of imported and skipped resources, and the reasons for skipping them."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, outcome: str, reason: str = "") -> None:
        """Count a thing."""
        self.counts[kind, outcome] += 1
        if reason:
            self.reasons[f"{kind}: {reason}"] += 1

    def lines(self) -> list[str]:
        """Return the report."""
        kinds = list(dict.fromkeys(kind for kind, _ in self.counts))
        counts = [
            f"{kind}: " + ", ".join(f"{count} {outcome}" for (of, outcome), count in self.counts.items() if of == kind)
            for kind in kinds
        ]
        return counts + [f"  {reason} ({count})" for reason, count in self.reasons.most_common(_SHOWN)]

    @property
    def complete(self) -> bool:
        """Whether everything is here, as it was there."""
        return not self.reasons


def run(arguments: argparse.Namespace) -> int:
    """Import, and print a report. The status is 1 if something is not here as it was there."""
    for name, value in environment_of_running_services().items():
        os.environ.setdefault(name, value)
    apply_aliases()
    logger.remove()
    settings = load_settings(Settings)
    report = Report()
    try:
        asyncio.run(_import(arguments, settings, report))
    finally:
        print("\n".join(report.lines()) or "nothing was imported")
    return 0 if report.complete else 1


async def _import(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    async with _target(settings, arguments.account) as target, _http(arguments) as http:
        source = Source(http)
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "assistants": lambda: _assistants(source, target, report),
            "threads": lambda: _threads(source, target, report),
            "items": lambda: _each("items", source.items(), target.add_item, report),
            "crons": lambda: _each("crons", source.crons(), target.add_cron, report),
        }
        for kind in _KINDS:
            if not arguments.only or kind in arguments.only:
                await steps[kind]()


def _http(arguments: argparse.Namespace) -> httpx2.AsyncClient:
    headers = {}
    for header in arguments.header:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise ConfigurationError("--header: has to be NAME:VALUE")
        headers[name.strip()] = value.strip()
    if key := arguments.key or os.environ.get("IMPORT_KEY"):
        headers["X-Api-Key"] = key
    try:
        address = httpx2.URL(arguments.source)
    except httpx2.InvalidURL:
        address = httpx2.URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise ConfigurationError("--from: has to be an address such as https://other.example.com")
    return httpx2.AsyncClient(base_url=address, headers=headers, timeout=_SECONDS)


@asynccontextmanager
async def _target(settings: Settings, email: str | None) -> AsyncIterator[Target]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        state = find(app, ApiState)
        yield Target(state, await _owner(state, settings, email))


async def _owner(state: ApiState, settings: Settings, email: str | None) -> UUID:
    if email is None:
        if settings.auth_required:
            raise ConfigurationError("--account: name the account that gets the data")
        return LOCAL_OWNER_ID
    from project4_agent_api.accounts import service as accounts  # noqa: PLC0415  not without accounts

    try:
        async with transaction(state.sessions) as session:
            return (await accounts.get_user_by_email(session, email)).id
    except NotFound:
        raise ConfigurationError(f"--account: there is no account {email}") from None


async def _assistants(source: Source, target: Target, report: Report) -> None:
    async def add(assistant: Json) -> bool:
        return await target.add_assistant(assistant, await source.versions(assistant["assistant_id"]))

    await _each("assistants", source.assistants(), add, report)


async def _each(kind: str, found: AsyncIterator[Json], add: Callable[[Json], Awaitable[bool]], report: Report) -> None:
    async for item in found:
        try:
            report.add(kind, "imported" if await add(item) else "already here")
        except NotImported as error:
            report.add(kind, "not imported", str(error))


async def _threads(source: Source, target: Target, report: Report) -> None:
    """Import the threads, several at once."""
    waiting: set[asyncio.Task[None]] = set()
    try:
        async for thread in source.threads():
            if len(waiting) >= _SIDE_BY_SIDE:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            waiting.add(asyncio.create_task(_thread(thread, source, target, report)))
        for task in waiting:
            await task
    finally:
        for task in waiting:
            task.cancel()


async def _thread(thread: Json, source: Source, target: Target, report: Report) -> None:
    thread_id = str(thread["thread_id"])
    try:
        if await target.has_thread(thread_id):
            report.add("threads", "already here")
            return
        states = await source.history(thread_id)
        inner = await source.inner_histories(thread_id, states)
        rebuilt = await target.add_thread(thread, states, inner)
    except NotImported as error:
        report.add("threads", "not imported", str(error))
        return
    report.add("threads", "imported")
    report.counts["checkpoints", "imported"] += len(states) + sum(map(len, inner.values()))
    if rebuilt and rebuilt.differing:
        report.counts["checkpoints", "different"] += rebuilt.differing
        report.reasons["checkpoints: values that the graph cannot represent as they were"] += rebuilt.differing
    if rebuilt and rebuilt.incomplete:
        report.reasons["threads: wait with inputs of nodes (Send) or routes that the API does not show"] += 1
