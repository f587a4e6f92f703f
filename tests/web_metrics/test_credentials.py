"""Tests of the setting web_credentials: what it describes, and each mistake in one sentence."""

from __future__ import annotations

import pytest

from autocanary.errors import SettingsError
from autocanary.settings import WebCredentials, load


def test_settings_describe_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON in the environment."""
    text = '[{"name": "eval", "hosts": ["Eval.ml.svc"], "token_file": "/etc/token", "namespaces": ["team-*"]}]'
    monkeypatch.setenv("AUTOCANARY_WEB_CREDENTIALS", text)
    [found] = load().web_credentials
    assert found == WebCredentials("eval", ("eval.ml.svc",), token_file="/etc/token", namespaces=("team-*",))
    assert (found.serves("team-a"), found.serves("models")) == (True, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "expected a list of credentials, each with name and hosts"),
        ("[1]", "credentials 1: expected name, hosts"),
        ("[{name: a, token_file: /t}]", "credentials a: hosts is missing"),
        ("[{name: a, hosts: [], token_file: /t}]", "credentials a: hosts: the list is empty"),
        ("[{name: a, hosts: ['*'], token_file: /t}]", "credentials a: hosts: '*' is neither a host nor a pattern"),
        ("[{name: a, hosts: ['https://e/'], token_file: /t}]", "credentials a: hosts: 'https://e/' is neither"),
        ("[{name: a, hosts: [e]}]", "credentials a: token_file, or username and password_file, is missing"),
        ("[{name: a, hosts: [e], username: u}]", "credentials a: username and password_file belong together"),
        ("[{name: a, hosts: [e], tokenfile: x}]", "credentials a: 'tokenfile' is unknown; did you mean token_file?"),
        ("[{name: a, hosts: [e], token_file: /t}, {name: a, hosts: [e], token_file: /t}]", "two credentials have the"),
    ],
)
def test_mistakes(text: str, words: str) -> None:
    """Before the service starts."""
    with pytest.raises(SettingsError, match="--web-credentials: ") as error:
        load({"web_credentials": text})
    assert words in str(error.value)
