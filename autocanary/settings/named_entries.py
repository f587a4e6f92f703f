"""Settings that are lists of named entries, which policies name: read from YAML, each mistake said with its entry."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import yaml
from pydantic_core import PydanticCustomError

from autocanary.settings import value_types

__all__ = ["check_credentials", "read_entries", "read_entry", "read_name", "read_namespaces", "read_text"]

_NAMESPACE = re.compile(r"[a-z0-9*?]([-a-z0-9*?]{0,61}[a-z0-9*?])?", re.ASCII)

Entry = TypeVar("Entry")


def read_text(value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise value_types.invalid_value("expected a text")
    return value.strip()


def read_name(value: Any) -> str:
    """What policies name the entry by."""
    name = read_text(value)
    if not value_types.DNS_LABEL.fullmatch(name):
        raise value_types.invalid_value("expected a name of lower-case letters, digits and '-'")
    return name


def read_namespaces(value: Any) -> tuple[str, ...]:
    """The namespaces that may use the entry; not "all": who writes an empty list means none."""
    names = value_types.split_list(value)
    if not names:
        raise value_types.invalid_value("the list is empty: leave it out where every namespace may use it")
    for name in names:
        if not _NAMESPACE.fullmatch(name):
            raise value_types.invalid_value(f"{name!r} is neither a namespace nor a pattern such as team-*")
    return names


def read_entry(
    given: Any, number: int, kind: str, readers: Mapping[str, Callable[[Any], Any]], *, required: Sequence[str]
) -> tuple[str, dict[str, Any]]:
    """What messages call the entry, and its fields as ``readers`` read them."""
    if not isinstance(given, Mapping):
        raise value_types.invalid_value(f"{kind} {number}: expected {', '.join(required)} and what else it needs")
    where = f"{kind} {given['name']}" if isinstance(given.get("name"), str) else f"{kind} {number}"
    read: dict[str, Any] = {}
    for key, value in given.items():
        if key not in readers:
            near = value_types.did_you_mean(str(key), list(readers))
            raise value_types.invalid_value(f"{where}: {key!r} is unknown{near}")
        try:
            read[key] = readers[key](value)
        except PydanticCustomError as error:
            raise value_types.invalid_value(f"{where}: {key}: {error.message()}") from None
    for key in required:
        if key not in read:
            raise value_types.invalid_value(f"{where}: {key} is missing")
    return where, read


def check_credentials(where: str, token_file: str, username: str, password_file: str) -> None:
    """A token, or a user name with a password, or none of them."""
    if bool(username) != bool(password_file):
        raise value_types.invalid_value(f"{where}: username and password_file belong together: set both or neither")
    if token_file and password_file:
        raise value_types.invalid_value(f"{where}: token_file and password_file exclude each other: set one")


def read_entries(
    value: Any, entry: type[Entry], read: Callable[[Any, int], Entry], kind: str, most: int, required: Sequence[str]
) -> tuple[Entry, ...]:
    """The entries of a list, or of its YAML or JSON; no two have one ``name``. ``kind`` is what messages call one."""
    if isinstance(value, str):
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError:
            raise value_types.invalid_value(f"expected a list of {_plural(kind)} as YAML or JSON") from None
    if not isinstance(value, list | tuple):
        raise value_types.invalid_value(f"expected a list of {_plural(kind)}, each with {' and '.join(required)}")
    if len(value) > most:
        raise value_types.invalid_value(f"{len(value)} {_plural(kind)}, and at most {most} are used")
    entries = tuple(
        each if isinstance(each, entry) else read(each, number) for number, each in enumerate(value, start=1)
    )
    names = [str(getattr(each, "name", "")) for each in entries]
    for name in names:
        if names.count(name) > 1:
            raise value_types.invalid_value(f"two {_plural(kind)} have the name {name}")
    return entries


def _plural(kind: str) -> str:
    return kind if kind.endswith("s") else f"{kind}s"
