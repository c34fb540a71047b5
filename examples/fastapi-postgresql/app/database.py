"""Connections to PostgreSQL: one pool for each process, one transaction for each request.

Whoever enters transaction() has committed when the block ends without an exception,
and has left nothing behind when it ends with one.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


def create_pool() -> asyncpg.Pool:
    """Make this process's pool; `async with` opens and closes it."""
    return asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=2, max_size=10, command_timeout=30
    )


@asynccontextmanager
async def transaction(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    """Run a block in a transaction on a connection of the pool."""
    async with pool.acquire() as connection, connection.transaction():
        yield connection
