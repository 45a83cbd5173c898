"""Many deployments in a row under one load, every second one of a broken version. `make test-deploy-long` runs it."""

import asyncio
import os
import sys

import pytest

from tests.deploy.deployments import BROKEN, assert_nothing_was_lost, image_id, loaded, make, version_without
from tests.deploy.service import Service

_DEPLOYMENTS = int(os.environ.get("DEPLOYMENTS", "20"))
_READY_SECONDS = {False: 300, True: 45}  # of working and of broken versions, also on a busy machine


@pytest.mark.timeout(600 * _DEPLOYMENTS)
async def test_deployments_in_turn_fail_no_request_and_no_stream(service: Service) -> None:
    broken = [version_without(service, what, how) for what, how in BROKEN]
    working = f"{service.stack.image}:working"
    service.stack.engine("tag", f"{service.stack.image}:current", working)
    version = image_id(service, "current")
    load = await loaded(service)

    async with load.going_on():
        for number in range(_DEPLOYMENTS):
            is_broken = number % 2 == 1
            image = broken[number // 2 % len(broken)] if is_broken else working
            status = await make("deploy", f"ARGS=--image {image} --ready-seconds {_READY_SECONDS[is_broken]}")
            print(f"deployment {number + 1} of {image}: {load}", file=sys.stderr)  # noqa: T201  a report for people
            assert status == (2 if is_broken else 0)
            assert image_id(service, "current") == version
        await asyncio.sleep(3)

    await assert_nothing_was_lost(f"series of {_DEPLOYMENTS} deployments", load)
