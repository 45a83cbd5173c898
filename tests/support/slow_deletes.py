"""A database that has no time to delete much at once: as where threads are large, without the time that takes."""

from uuid import UUID

from psycopg import AsyncConnection

_NONE = UUID(int=0)


async def no_time_for_more_than(most: int, connection: AsyncConnection, *, too_large: UUID | None = None) -> None:
    """Have each statement cancelled that deletes more than some threads, or one that is too large."""
    large = too_large or _NONE
    await connection.execute(f"""
        CREATE OR REPLACE FUNCTION run_out_of_time() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (SELECT count(*) > {most} OR count(*) FILTER (WHERE thread_id = '{large}') > 0 FROM gone) THEN
                RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = 'query_canceled';
            END IF;
            RETURN NULL;
        END $$
    """)  # noqa: S608  both are of a test
    await connection.execute("""
        CREATE OR REPLACE TRIGGER run_out_of_time AFTER DELETE ON threads REFERENCING OLD TABLE AS gone
        FOR EACH STATEMENT EXECUTE FUNCTION run_out_of_time()
    """)
