"""Strict pydantic base model, and validation errors as sentences a planner can read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from twin.errors import did_you_mean

__all__ = ["Flag", "NonNegative", "Positive", "Share", "StrictModel", "Whole", "explain", "key_path"]

# Strict: neither `yes` nor "5" is a number, and 1 is not a yes.
NonNegative = Annotated[float, Field(strict=True, ge=0.0)]
Positive = Annotated[float, Field(strict=True, gt=0.0)]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]


class StrictModel(BaseModel):
    """Frozen model that refuses unknown keys and suggests the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __eq__(self, other: object) -> bool:
        # By declared fields: pydantic would also compare cached tables, which are arrays.
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in type(self).model_fields)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = [info.alias or field for field, info in cls.model_fields.items()]
            unknown = [key for key in data if key not in known]
            if unknown:
                # A field that files write under another name (`from`) is known by its Python name as well.
                alias = {field: info.alias for field, info in cls.model_fields.items() if info.alias}
                text = "; ".join(f"unknown key '{key}'{did_you_mean(alias.get(key, key), known)}" for key in unknown)
                raise PydanticCustomError(
                    "unknown_key",
                    "{text} (allowed: {allowed})",
                    {"text": text, "allowed": ", ".join(sorted(known))},
                )
        return data


def key_path(location: tuple[int | str, ...]) -> str:
    """Write a pydantic location as ``lanes[2].modes.air.lead_time``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or "(top level)"


def explain(
    error: ValidationError, *, union_keys: frozenset[str] = frozenset(), union_tags: tuple[str, ...] = ()
) -> list[str]:
    """Turn a ValidationError into one sentence per problem: place, value, what is allowed, nearest match.

    Parameters
    ----------
    error
        The pydantic error.
    union_keys, union_tags
        Keys whose value is a tagged union, and its tags: pydantic puts the tag behind the key in a location, where it
        means nothing to the reader.
    """
    lines = []
    for item in error.errors(include_url=False):
        location = item["loc"]
        tags = {
            index
            for index in range(1, len(location))
            if location[index] in union_tags and location[index - 1] in union_keys
        }
        place = key_path(tuple(part for index, part in enumerate(location) if index not in tags))
        lines.append(f"{place}: {_sentence(dict(item), union_tags)}")
    return lines


def _sentence(item: dict[str, Any], union_tags: tuple[str, ...]) -> str:
    kind, value, message = item["type"], item.get("input"), str(item["msg"])
    if kind == "unknown_key":
        return message
    if kind == "missing":
        return "this key is required and missing"
    if kind == "union_tag_not_found":
        return f"needs the key {item['ctx']['discriminator']} (allowed: {', '.join(union_tags)})"
    suggestion = ""
    if kind in {"literal_error", "enum", "union_tag_invalid"}:
        context = item.get("ctx", {})
        expected = str(context.get("expected") or context.get("expected_tags") or "")
        suggestion = did_you_mean(context.get("tag", value), re.findall(r"'([^']*)'", expected))
    shown = type(value).__name__ if isinstance(value, Mapping) else repr(value)
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{message} (received {shown[:80]}){suggestion}"
