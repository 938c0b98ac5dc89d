"""progress.csv that a resumed run continues instead of overwriting."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.logger import KVWriter

from twin.files import write_text

__all__ = ["ContinuedCsv"]


class ContinuedCsv(KVWriter):
    """Writes one row a dump; new columns widen the file; rows of a past that is run again are dropped.

    Parameters
    ----------
    path
        The CSV file.
    keep_until
        Rows with more ``time/total_timesteps`` than this are dropped at the start (they came after the checkpoint
        that a resumed run goes back to).
    """

    def __init__(self, path: Path, *, keep_until: int | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.is_file() and keep_until is not None:
            with path.open(newline="", encoding="utf-8") as stream:
                self.rows = [
                    row for row in csv.DictReader(stream) if float(row.get("time/total_timesteps") or 0) <= keep_until
                ]

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Append a row of the scalars."""
        plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in key_values.items()}
        row = {key: value for key, value in sorted(plain.items()) if isinstance(value, (int, float, str))}
        now = "time/total_timesteps"
        if self.rows and now in row and str(self.rows[-1].get(now)) == str(row[now]):
            self.rows[-1] |= row  # a second dump at the same moment completes the row
        else:
            self.rows.append(row)
        columns = list(dict.fromkeys(key for entry in self.rows for key in entry))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, buffer.getvalue())

    def close(self) -> None:
        """Nothing is held open: every row is on disk."""
