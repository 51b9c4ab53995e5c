"""The audit records of a stack's gateways, for the demo and the tests."""

from collections.abc import Mapping
from typing import Any

from chaperone.store.interface import Query
from chaperone.store.opening import open_store
from hack.stack.layout import Layout


def records(layout: Layout, query: Query | None = None) -> list[Mapping[str, Any]]:
    """All that a query finds, oldest first; nothing before the first gateway has run."""
    if not layout.audit_store.exists():
        return []
    store, found, cursor = open_store(str(layout.audit_store)), [], ""
    try:
        while True:
            page = store.search(query or Query(), limit=1000, cursor=cursor)
            found += [item.record for item in page.records]
            cursor = page.cursor
            if not cursor:
                return found[::-1]
    finally:
        store.close()
