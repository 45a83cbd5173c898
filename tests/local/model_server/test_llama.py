"""The start of llama.cpp's servers, without a model."""

import asyncio
import threading

import pytest
import xllamacpp

from local.model_server.llama import Llama


async def test_model_is_loaded_once_though_its_first_caller_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    started, loaded = threading.Event(), threading.Event()
    servers: list[object] = []

    class Server:
        listening_address = "http://127.0.0.1:9"

        def __init__(self, _: object) -> None:
            servers.append(self)
            started.set()
            loaded.wait()

    monkeypatch.setattr(xllamacpp, "Server", Server)
    async with Llama(xllamacpp.CommonParams) as llama:
        first = asyncio.create_task(llama.client())
        await asyncio.to_thread(started.wait)
        first.cancel()
        await asyncio.wait([first])
        second = asyncio.create_task(llama.client())
        loaded.set()

        assert (await second).base_url == Server.listening_address
    assert first.cancelled()
    assert len(servers) == 1


async def test_model_is_loaded_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [MemoryError()]

    class Server:
        listening_address = "http://127.0.0.1:9"

        def __init__(self, _: object) -> None:
            if failures:
                raise failures.pop()

    monkeypatch.setattr(xllamacpp, "Server", Server)
    async with Llama(xllamacpp.CommonParams) as llama:
        with pytest.raises(MemoryError):
            await llama.client()

        assert (await llama.client()).base_url == Server.listening_address
