"""What tests of cached functions need: a clock that waits, and backends that do as they are told.

`FakeClock` stops the clocks that retainit reads. `RecordingBackend` works, and says what it was asked;
`FailingBackend`, `SlowBackend`, `FlakyBackend` and `HangingBackend` do what their names say. All five
are backend configurations, for ``@retain(backend=...)`` or `register_backend`, and each can be told
anything at any moment. The module `retainit.testing.pytest_plugin` has fixtures that start each test
with nothing configured.

They stand on the bundled plugin ``testing``: what fails or hangs is native code behind the plugin
border, just as it is when a store of your own does.
"""

from retainit.testing._backends import (
    FailingBackend,
    FlakyBackend,
    HangingBackend,
    RecordingBackend,
    SlowBackend,
)
from retainit.testing._clock import FakeClock
from retainit.testing._script import Answers, Call, Failure

__all__ = [
    "Answers",
    "Call",
    "FailingBackend",
    "Failure",
    "FakeClock",
    "FlakyBackend",
    "HangingBackend",
    "RecordingBackend",
    "SlowBackend",
]
