"""Exceptions.

::

    RetainitError
    ├── ConfigurationError   options, arguments or files are wrong (also a ValueError)
    ├── PluginError          a plugin was not found, was refused, or broke its contract
    ├── BackendError         a store failed; only with ``strict=True`` does a call see it
    ├── LockError            a lock was used as it must not be (also a RuntimeError)
    │   ├── LockTimeoutError a lock was not free in time (also a TimeoutError)
    │   └── LockLostError    a lock was lost while it was held
    ├── SerializationError   a result could not be turned into bytes; only with ``strict=True``
    └── UnkeyableError       an argument has no key (also a TypeError); only with ``strict=True``

    UnkeyableWarning         an argument has no key, so that calls run uncached (a RuntimeWarning)

Messages are lower case, without a final full stop, with values in backticks: what was expected, what
was found, and where there is one, a hint. They never hold a secret.
"""

__all__ = [
    "BackendError",
    "ConfigurationError",
    "LoadTimeoutError",
    "LockError",
    "LockLostError",
    "LockTimeoutError",
    "PluginError",
    "RetainitError",
    "SerializationError",
    "UnkeyableError",
    "UnkeyableWarning",
]


class RetainitError(Exception):
    """What every exception of this package is."""


class ConfigurationError(RetainitError, ValueError):
    """Options, arguments or files are wrong and have to be mended."""


class PluginError(RetainitError):
    """A plugin was not found, was refused, or broke its contract."""


class BackendError(RetainitError):
    """A store failed."""


class LockError(RetainitError, RuntimeError):
    """A lock was used as it must not be: waited for by its own holder, or given back by nobody's."""


class LockTimeoutError(LockError, TimeoutError):
    """A lock was not free in time."""


class LockLostError(LockError):
    """A lock was lost while it was held: somebody else may have had it since."""


class LoadTimeoutError(RetainitError, TimeoutError):
    """A function took longer than its ``hard_timeout``, and there was nothing to fall back on."""


class SerializationError(RetainitError):
    """A result could not be turned into bytes."""


class UnkeyableError(RetainitError, TypeError):
    """An argument has no key."""


class UnkeyableWarning(RuntimeWarning):
    """An argument has no key, so that calls of the function run uncached. Given once a function."""
