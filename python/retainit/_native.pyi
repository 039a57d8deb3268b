"""The native module."""

from os import PathLike
from typing import Final, TypedDict

# --- configuration -------------------------------------------------------------------------------

class PluginEntry(TypedDict, total=False):
    name: str
    path: str
    sha256: str | None
    directory: str

class _BackendEntryTtl(TypedDict, total=False):
    ttl: float | None

class BackendEntry(_BackendEntryTtl):
    name: str
    type: str
    options: str
    namespace: str | None
    line: int
    origins: dict[str, tuple[int, str | None]]

class ConfigFile(TypedDict):
    file: str
    plugins: list[PluginEntry]
    backends: list[BackendEntry]
    default_backend: tuple[str, int] | None

ATTENTION_DISABLED: Final[int]

def read_config(path: str | PathLike[str], named: bool) -> ConfigFile: ...
def find_config(directory: str | PathLike[str]) -> str | None: ...
def parse_duration(value: object) -> float: ...
def parse_size(value: object) -> int: ...
def nearest(name: str, candidates: list[str]) -> str | None: ...
def backend_types() -> list[str]: ...
def missing_backend_type(kind: str) -> str | None: ...
def prepare_options(
    name: str,
    kind: str,
    options: str,
    file: str | None,
    line: int,
    origins: dict[str, tuple[int, str | None]],
) -> str: ...
def advance_generation() -> None: ...
