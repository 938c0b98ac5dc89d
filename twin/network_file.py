"""What all network files share: who wrote them and from what, reading, checking, writing."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field

from twin.demand import Name
from twin.errors import NetworkError
from twin.schema import StrictModel

__all__ = ["NetworkFile", "invalid"]


class NetworkFile(StrictModel):
    """A network as a YAML or JSON file."""

    name: Name
    description: str = ""
    source: str = Field(default="", description="where the figures come from")
    licence: str = ""
    provenance: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    @abstractmethod
    def parse(cls, data: Mapping[str, Any], *, where: str = ...) -> Self:
        """Build a network from plain data and run every structural check.

        Raises
        ------
        NetworkError
            With one line per problem: the key path, the value, what is allowed and the nearest match.
        """

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a network from a YAML or JSON file.

        Raises
        ------
        NetworkError
            When the file is missing, is not YAML, or describes an impossible network.
        """
        from twin.files import read_mapping

        return cls.parse(read_mapping(path), where=str(path))

    def to_dict(self) -> dict[str, Any]:
        """Plain data that :meth:`parse` reads back to an equal network; defaults are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def save(self, path: str | Path) -> None:
        """Write the network as YAML (or JSON, by the file's ending), whole or not at all."""
        from twin.files import write_text

        data = self.to_dict()
        if Path(path).suffix == ".json":
            write_text(path, json.dumps(data, indent=2) + "\n")
        else:
            write_text(path, yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120))


def invalid(where: str, kind: str, problems: Iterable[str]) -> NetworkError:
    """The error that lists what is wrong with a file of a kind (``network``, ...), one line per problem."""
    return NetworkError(f"{where} is not a valid {kind}:\n" + "\n".join(f"  - {line}" for line in problems))
