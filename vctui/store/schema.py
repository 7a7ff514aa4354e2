"""Tables of the database, and how one version becomes the next. Pure: SQL only.

`user_version` of the database counts the migrations that were done.
Records are JSON; what is queried or worth a look with the sqlite3 shell is a generated column.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x76637475
"""`vctu`: so that another program's database is not taken for ours."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE pods (
            position INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            record TEXT NOT NULL,
            state TEXT AS (json_extract(record, '$.state'))
        )
        """,
        """
        CREATE TABLE containers (
            position INTEGER PRIMARY KEY,
            pod_id TEXT NOT NULL REFERENCES pods (id) ON DELETE CASCADE,
            id TEXT NOT NULL,
            record TEXT NOT NULL,
            state TEXT AS (json_extract(record, '$.state')),
            UNIQUE (pod_id, id)
        )
        """,
        """
        CREATE TABLE execs (
            position INTEGER PRIMARY KEY,
            pod_id TEXT NOT NULL,
            container_id TEXT NOT NULL,
            token TEXT NOT NULL,
            record TEXT NOT NULL,
            finished TEXT AS (json_extract(record, '$.finished')),
            UNIQUE (pod_id, token),
            FOREIGN KEY (pod_id, container_id) REFERENCES containers (pod_id, id)
                ON DELETE CASCADE
        )
        """,
        """
        CREATE TABLE events (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            time TEXT NOT NULL,
            kind TEXT NOT NULL,
            pod_id TEXT NOT NULL,
            container_id TEXT NOT NULL,
            token TEXT NOT NULL,
            message TEXT NOT NULL
        )
        """,
        "CREATE INDEX events_of_pod ON events (pod_id, seq)",
    ),
)

VERSION: Final = len(MIGRATIONS)
