"""The configuration guide's snippets do what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from retainit import UNSET, _registry
from retainit.errors import ConfigurationError, PluginError

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "configuration.md").read_text()


def snippets(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    names: dict[str, object] = {}
    for snippet in snippets("python"):
        exec(compile(snippet, "configuration.md", "exec"), names)
    assert [tier.backend.type for tier in _registry.resolve()] == ["memory", "disk"]
    _registry.get_backend("far").clear()
    assert (tmp_path / "cache").is_dir()


def test_the_file_of_the_page_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CACHE_DIR", raising=False)
    backends, plugins = snippets("yaml")
    Path("retainit.yaml").write_text(backends)
    assert [(tier.backend.name, tier.ttl) for tier in _registry.resolve()] == [
        ("near", 300.0),
        ("far", UNSET),
    ]
    # Its plugins are not there, which is the first thing said of them: the file itself is in order.
    Path("plugins.yaml").write_text(plugins.replace("9f2c...", "9f2c" * 16))
    with pytest.raises(PluginError, match="acme"):
        _registry.load_config("plugins.yaml")


def test_the_mistake_of_the_page_is_what_is_said() -> None:
    Path("retainit.yaml").write_text(
        "retainit:\n  backends:\n\n\n\n\n    near: {type: memory, max_sise: 5}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        _registry.resolve("near")
    said = " ".join(line.strip() for line in PAGE.splitlines() if line.startswith("    "))
    assert str(caught.value) in said
