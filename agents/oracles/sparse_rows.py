"""Rows of a linear program while they are made."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

__all__ = ["SparseRows"]

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
