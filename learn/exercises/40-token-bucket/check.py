import pytest


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def bucket(exercise, clock):
    return exercise.TokenBucket(3, 60, clock)


def test_burst_is_allowed_up_to_the_capacity(bucket):
    assert [bucket.take("ada") for _ in range(3)] == [0, 0, 0]
    assert bucket.take("ada") > 0


def test_wait_is_returned(bucket, clock):
    for _ in range(3):
        bucket.take("ada")
    clock.now += 0.25
    assert bucket.take("ada") == pytest.approx(0.75)


def test_bucket_refills(bucket, clock):
    for _ in range(3):
        bucket.take("ada")
    clock.now += 1
    assert bucket.take("ada") == 0
    assert bucket.take("ada") > 0


def test_bucket_never_holds_more_than_its_capacity(bucket, clock):
    bucket.take("ada")
    clock.now += 3600
    assert [bucket.take("ada") == 0 for _ in range(4)] == [True, True, True, False]


def test_refused_requests_cost_nothing(bucket, clock):
    for _ in range(50):
        bucket.take("ada")
    clock.now += 1.001
    assert bucket.take("ada") == 0


def test_users_have_buckets_of_their_own(bucket):
    for _ in range(4):
        bucket.take("ada")
    assert bucket.take("tim") == 0
