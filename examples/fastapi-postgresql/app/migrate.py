"""The migration: `python -m app.migrate`, as the database's superuser, on every deploy.

Everything happens in one transaction and may be repeated: an unchanged skene.config.ts
changes nothing.
"""

import asyncio
import os
from pathlib import Path

import asyncpg

SCHEMA = Path(__file__).with_name("schema.sql")
CONFIG = Path(__file__).parent.parent / "skene.config.ts"


async def migrate(url: str) -> None:
    """Bring the database up to date and print what changed in the configuration."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("CREATE EXTENSION IF NOT EXISTS skene_gate")
            await connection.execute("SELECT skene_grant_role('app', 'app')")
            await connection.execute(SCHEMA.read_text(encoding="utf-8"))
            changes = await connection.fetch(
                "SELECT action, object, name FROM skene_apply($1)",
                CONFIG.read_text(encoding="utf-8"),
            )
    finally:
        await connection.close()
    for change in changes:
        print(*change)


if __name__ == "__main__":
    asyncio.run(migrate(os.environ["ADMIN_DATABASE_URL"]))
