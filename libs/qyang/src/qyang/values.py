"""Leaf values between XML text and yangson's cooked form, strictly as RFC 7950 writes them.

Parsing is cached per type where a value does not depend on namespace prefixes, since the same names and
numbers come again with every edit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from typing import Any

from yangson import datatype
from yangson.exceptions import YangsonException

Prefixes = Mapping[str | None, str]

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_DECIMAL = re.compile(r"[+-]?[0-9]+(?:\.([0-9]+))?\Z")
_PREFIXED = re.compile(r"([A-Za-z_][\w.-]*):(?=[A-Za-z_])")
_QUOTED = re.compile(r"('[^']*'|\"[^\"]*\")")
_CACHED_VALUES = 2048


class Namespaces:
    """Module names and XML namespaces of a module set, both ways."""

    def __init__(self, of_module: dict[str, str]) -> None:
        self.of_module = of_module
        self.module_of = {namespace: module for module, namespace in of_module.items()}


class Lexical:
    """How values of one type are written in XML. Errors are ValueError with a text for the client."""

    def __init__(self, yang_type: Any) -> None:
        self.type = yang_type
        self._cached = lru_cache(_CACHED_VALUES)(self._parse)

    def parse(self, text: str, prefixes: Prefixes) -> Any:
        """The cooked value; ValueError if the type does not allow it."""
        return self._cached(text)

    def text(self, value: Any) -> str:
        """Canonical text, not yet escaped."""
        return self.type.canonical_string(value) or ""

    def xml(self, value: Any) -> tuple[str, str]:
        """Namespace declarations that the text needs (or nothing), and the escaped text."""
        return "", escape(self.text(value), quote=False)

    def _parse(self, text: str) -> Any:
        value = self._cook(text)
        if value is None or value not in self.type:
            raise ValueError(f"{text[:100]!r} is not a valid {self.type}{_reason(self.type, value)}")
        return value

    def _cook(self, text: str) -> Any:
        return self.type.parse_value(text.strip())


class _String(Lexical):
    def _cook(self, text: str) -> Any:
        return text

    def text(self, value: Any) -> str:
        return str(value)


class _Integer(Lexical):
    def _cook(self, text: str) -> Any:
        text = text.strip()
        return int(text) if _INTEGER.match(text) else None


class _Decimal(Lexical):
    def _cook(self, text: str) -> Any:
        text = text.strip()
        match = _DECIMAL.match(text)
        if match is None or len((match[1] or "").rstrip("0")) > self.type.fraction_digits:
            return None
        return self.type.parse_value(text)


class _Bits(Lexical):
    def _cook(self, text: str) -> Any:
        names = text.split()
        if any(name not in self.type.bit for name in names) or len(set(names)) < len(names):
            return None
        return tuple(sorted(names, key=self.type.bit.__getitem__))


class _Identity(Lexical):
    """Identities carry prefixes: parsed with those of the element, written with the module's name."""

    def __init__(self, yang_type: Any, namespaces: Namespaces) -> None:
        super().__init__(yang_type)
        self._namespaces = namespaces
        self._qualified = lru_cache(_CACHED_VALUES)(self._parse_qualified)

    def parse(self, text: str, prefixes: Prefixes) -> Any:
        prefix, colon, name = text.strip().rpartition(":")
        namespace = prefixes.get(prefix if colon else None)
        if colon and namespace is None:
            raise ValueError(f"prefix {prefix!r} of {text[:100]!r} is not declared")
        module = self._namespaces.module_of.get(namespace or "")
        return self._qualified(name, module if module or colon else self.type.sctx.default_ns)

    def _parse_qualified(self, name: str, module: str | None) -> Any:
        value = (name, module)
        if module is None or value not in self.type:
            raise ValueError(f"{name[:100]!r} is not a valid {self.type}")
        return value

    def xml(self, value: Any) -> tuple[str, str]:
        name, module = value
        return f' xmlns:{module}="{self._namespaces.of_module[module]}"', f"{module}:{name}"


class _InstanceIdentifier(Lexical):
    """Paths: every prefix becomes its module's name, and back."""

    def __init__(self, yang_type: Any, namespaces: Namespaces) -> None:
        super().__init__(yang_type)
        self._namespaces = namespaces

    def parse(self, text: str, prefixes: Prefixes) -> Any:
        def module_prefix(match: re.Match[str]) -> str:
            module = self._namespaces.module_of.get(prefixes.get(match[1]) or "")
            if module is None:
                raise ValueError(f"prefix {match[1]!r} of {text[:100]!r} is not declared")
            return f"{module}:"

        parts = _QUOTED.split(text.strip())
        parts[::2] = [_PREFIXED.sub(module_prefix, part) for part in parts[::2]]
        return self._cached(_json_names("".join(parts)))

    def xml(self, value: Any) -> tuple[str, str]:
        path = _xml_names(str(value))
        outside = "".join(_QUOTED.split(path)[::2])
        modules = dict.fromkeys(match[1] for match in _PREFIXED.finditer(outside))
        declared = "".join(f' xmlns:{name}="{self._namespaces.of_module[name]}"' for name in modules)
        return declared, escape(path, quote=False)


class _Union(Lexical):
    """The first member that accepts the text wins."""

    def __init__(self, yang_type: Any, namespaces: Namespaces) -> None:
        super().__init__(yang_type)
        self._members = [lexical_of(member, namespaces) for member in yang_type.types]

    def parse(self, text: str, prefixes: Prefixes) -> Any:
        for member in self._members:
            try:
                return member.parse(text, prefixes)
            except ValueError:
                continue
        raise ValueError(f"{text[:100]!r} matches no member of the union")

    def _member_of(self, value: Any) -> Lexical:
        for member in self._members:
            try:
                if value in member.type:
                    return member
            except TypeError:
                continue
        return self._members[0]

    def text(self, value: Any) -> str:
        return self._member_of(value).text(value)

    def xml(self, value: Any) -> tuple[str, str]:
        return self._member_of(value).xml(value)


def lexical_of(yang_type: Any, namespaces: Namespaces) -> Lexical:
    """The lexical rules of a yangson type."""
    while isinstance(yang_type, datatype.LeafrefType):
        yang_type = yang_type.ref_type
    if isinstance(yang_type, datatype.IdentityrefType):
        return _Identity(yang_type, namespaces)
    if isinstance(yang_type, datatype.InstanceIdentifierType):
        return _InstanceIdentifier(yang_type, namespaces)
    if isinstance(yang_type, datatype.UnionType):
        return _Union(yang_type, namespaces)
    for cls, rules in (
        (datatype.StringType, _String),
        (datatype.IntegralType, _Integer),
        (datatype.Decimal64Type, _Decimal),
        (datatype.BitsType, _Bits),
    ):
        if isinstance(yang_type, cls):
            return rules(yang_type)
    return Lexical(yang_type)


def _reason(yang_type: Any, value: Any) -> str:
    if value is None:
        return ""
    try:
        return "" if value in yang_type else f": {yang_type.error_message}"
    except (TypeError, YangsonException):
        return ""


def _steps(path: str) -> list[str]:
    """The path split at the slashes outside of predicates and quotes; the first item is empty."""
    steps, depth, quote = [""], 0, ""
    for char in path:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        else:
            depth += (char == "[") - (char == "]")
            if char == "/" and depth == 0:
                steps.append("")
                continue
        steps[-1] += char
    return steps


def _json_names(path: str) -> str:
    """RFC 7951: a name carries its module only where the module changes."""
    result, module = [], ""
    for step in _steps(path):
        prefix, colon, rest = step.partition(":")
        if colon and "[" not in prefix:
            step = rest if prefix == module else step
            module = prefix
        result.append(step.replace(f"[{module}:", "[") if module else step)
    return "/".join(result)


def _xml_names(path: str) -> str:
    """RFC 7950: every name carries its module."""
    result, module = [], ""
    for step in _steps(path):
        prefix, colon, _ = step.partition(":")
        if colon and "[" not in prefix:
            module = prefix
        elif step:
            step = f"{module}:{step}"
        result.append(re.sub(r"\[(?=[A-Za-z_][\w.-]*=)", f"[{module}:", step))
    return "/".join(result)
