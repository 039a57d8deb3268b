"""What `cache_info` gives."""

from __future__ import annotations

from typing import NamedTuple


class CacheInfo(NamedTuple):
    """Counts of a cached function. The first four are those of `functools`."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int
    #: Values served past their time to live.
    stale: int
    #: Failures of the cache, none of which a call has seen.
    errors: int
    #: Entries that a backend evicted, or reclaimed once they had expired.
    evictions: int
