"""Strict pydantic base model, and validation errors as sentences a planner can read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from twin.errors import did_you_mean

__all__ = ["Flag", "NonNegative", "Positive", "Share", "StrictModel", "Whole", "explain", "key_path", "models_of"]

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
        if isinstance(data, Mapping) and (text := cls._unknown(data)):
            raise PydanticCustomError("unknown_key", "{text}", {"text": text})
        return data

    @classmethod
    def _unknown(cls, data: Mapping[str, Any]) -> str:
        """A sentence on the keys of a mapping that the model has not; empty when it has all."""
        known = [info.alias or field for field, info in cls.model_fields.items()]
        unknown = [key for key in data if key not in known]
        if not unknown:
            return ""
        # A field that files write under another name (`from`) is known by its Python name as well.
        alias = {field: info.alias for field, info in cls.model_fields.items() if info.alias}
        text = "; ".join(f"unknown key '{key}'{did_you_mean(alias.get(key, key), known)}" for key in unknown)
        return f"{text} (allowed: {', '.join(sorted(known))})"

    @classmethod
    def known_part(cls, data: Mapping[str, Any], place: tuple[str, ...] = ()) -> tuple[dict[str, Any], list[str]]:
        """Data without unknown keys, at any depth, and a line for each place that had some.

        A model with an unknown key is refused as a whole, so that nothing else about it would be said.
        """
        text = cls._unknown(data)
        problems = [f"{key_path(place)}: {text}"] if text else []
        clean = {}
        for field, info in cls.model_fields.items():
            key = info.alias or field
            if key in data:
                clean[key], found = _known_value(info.annotation, data[key], (*place, key))
                problems += found
        return clean, problems


def models_of(annotation: Any) -> list[type[StrictModel]]:
    """The models that a field may hold, by its annotation."""
    kinds = (annotation, *get_args(annotation))
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, StrictModel)]


def _known_value(annotation: Any, value: Any, place: tuple[str, ...]) -> tuple[Any, list[str]]:
    """The same of one value, where it is a model or a mapping of models."""
    if not isinstance(value, Mapping):
        return value, []
    models = models_of(annotation)
    if len(models) != 1:  # none, or a choice that only the value itself can make
        return value, []
    if get_origin(annotation) is not dict:
        return models[0].known_part(value, place)
    parts = {key: _known_value(models[0], entry, (*place, key)) for key, entry in value.items()}
    return {key: part for key, (part, _) in parts.items()}, [line for _, lines in parts.values() for line in lines]


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
    for item in _joined(error.errors(include_url=False)):
        location = item["loc"]
        tags = {
            index
            for index in range(1, len(location))
            if location[index] in union_tags and location[index - 1] in union_keys
        }
        place = key_path(tuple(part for index, part in enumerate(location) if index not in tags))
        lines.append(f"{place}: {_sentence(item, union_tags)}")
    return lines


def _joined(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A value that is none of several lists of words is one problem, not one for each list."""
    out: dict[object, dict[str, Any]] = {}
    for number, item in enumerate(items):
        place = item["loc"]
        if item["type"] != "literal_error" or not str(place[-1]).startswith("literal["):
            out[number] = dict(item)
            continue
        first = out.get(place[:-1])
        words = re.findall(r"'([^']*)'", item["ctx"]["expected"])
        if first is not None:
            words = [*first["ctx"]["words"], *words]
        expected = ", ".join(f"'{word}'" for word in dict.fromkeys(words))
        context = {"words": words, "expected": expected}
        out[place[:-1]] = {**item, "loc": place[:-1], "msg": f"Input should be one of {expected}", "ctx": context}
    return list(out.values())


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
