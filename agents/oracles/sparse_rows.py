"""Rows of a linear program while they are made, and the matrices that come of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

__all__ = ["LinearProgram", "SparseRows"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class SparseRows:
    """Rows of a sparse matrix and their right-hand sides; entries at one place add up."""

    def __init__(self) -> None:
        self._parts: list[tuple[ArrayLike, ...]] = []
        self.right = np.zeros(0)

    def new(self, right: FloatArray) -> IntArray:
        """Numbers of new rows, in the shape of their right-hand sides."""
        rows = len(self.right) + np.arange(right.size)
        self.right = np.concatenate([self.right, right.ravel()])
        return rows.reshape(right.shape)

    def add(self, row: ArrayLike, column: ArrayLike, value: ArrayLike) -> None:
        """Entries; the three are broadcast."""
        self._parts.append((row, column, value))

    def matrix(self, columns: int) -> Any:
        """The matrix, sparse."""
        flat = [[part.ravel() for part in np.broadcast_arrays(*parts)] for parts in self._parts]
        row, column, value = (np.concatenate(parts) for parts in zip(*flat, strict=True))
        return sparse.csr_array((value.astype(np.float64), (row, column)), shape=(len(self.right), columns))


@dataclass(frozen=True, eq=False)
class LinearProgram:
    """Choose x so that ``equal @ x = equal_to`` and ``most @ x <= at_most``; ``terms @ x`` is money, term by term.

    The matrices are made when they are asked for.

    Attributes
    ----------
    columns
        Their number.
    rows
        Those of ``terms``, ``equal`` and ``most``, by name.
    """

    columns: int
    rows: dict[str, SparseRows]

    @cached_property
    def terms(self) -> Any:
        """(terms, columns) sparse."""
        return self.rows["terms"].matrix(self.columns)

    @cached_property
    def equal(self) -> Any:
        """(rows, columns) sparse."""
        return self.rows["equal"].matrix(self.columns)

    @cached_property
    def most(self) -> Any:
        """(rows, columns) sparse."""
        return self.rows["most"].matrix(self.columns)

    @property
    def equal_to(self) -> FloatArray:
        """Right-hand sides of ``equal``."""
        return self.rows["equal"].right

    @property
    def at_most(self) -> FloatArray:
        """Right-hand sides of ``most``; infinity without limit."""
        return self.rows["most"].right
