"""Where audit records and recordings are kept: SQLite and a folder, or PostgreSQL and an object store.

One interface for both (`interface.AuditStore`), opened by `opening.open_store`. Nothing here talks to a cluster.
"""
