import asyncio

import pytest


class Service:
    """Containers that record what happens to them."""

    def __init__(self, unready=()):
        self.events = []
        self.serving = set()
        self.fewest = 0
        self._unready = set(unready)
        self._started = 0

    def old(self, count):
        replicas = [_Replica(self, f"old{number}") for number in range(1, count + 1)]
        self.serving |= {replica.name for replica in replicas}
        self.fewest = count
        return replicas

    async def start(self, version):
        self._started += 1
        replica = _Replica(self, f"{version}-{self._started}", ready=self._started not in self._unready)
        self.record("start", replica.name)
        return replica

    def record(self, event, name):
        self.events.append(f"{event} {name}")
        self.fewest = min(self.fewest, len(self.serving))


class _Replica:
    def __init__(self, service, name, *, ready=True):
        self.name = name
        self._service = service
        self._ready = ready

    async def wait_until_ready(self):
        await asyncio.sleep(0)
        if self._ready:
            self._service.serving.add(self.name)
        self._service.record("ready" if self._ready else "not ready", self.name)
        return self._ready

    async def drain(self):
        self._service.serving.discard(self.name)
        self._service.record("drain", self.name)

    async def stop(self):
        self._service.serving.discard(self.name)
        self._service.record("stop", self.name)


def test_each_replica_is_replaced_in_order(exercise):
    service = Service()
    asyncio.run(exercise.rolling_update(service, service.old(1), "v2"))
    assert service.events == ["start v2-1", "ready v2-1", "drain old1", "stop old1"]


def test_capacity_never_falls(exercise):
    service = Service()
    asyncio.run(exercise.rolling_update(service, service.old(3), "v2"))
    assert service.fewest == 3, "fewer replicas than before served at some time / 有一刻提供服务的副本变少了"
    assert service.serving == {"v2-1", "v2-2", "v2-3"}


def test_new_replicas_are_returned(exercise):
    service = Service()
    serving = asyncio.run(exercise.rolling_update(service, service.old(2), "v2"))
    assert [replica.name for replica in serving] == ["v2-1", "v2-2"]


def test_one_replica_is_replaced_at_a_time(exercise):
    service = Service()
    asyncio.run(exercise.rolling_update(service, service.old(2), "v2"))
    assert service.events.index("stop old1") < service.events.index("start v2-2"), (
        "a surplus of one replica is enough / 多出一个副本就够了"
    )


def test_broken_version_harms_nobody(exercise):
    service = Service(unready=[1])
    old = service.old(2)
    with pytest.raises(RuntimeError, match="v2"):
        asyncio.run(exercise.rolling_update(service, old, "v2"))
    assert service.serving == {"old1", "old2"}
    assert service.events == ["start v2-1", "not ready v2-1", "stop v2-1"]
