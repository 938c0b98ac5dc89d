"""Linear programs that stay in HiGHS, are changed in place, and are solved again from the last basis."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.errors import ConfigError

__all__ = ["near_optimum", "optimum", "standing_model"]

FloatArray = NDArray[np.float64]

#: What HiGHS takes for no limit.
_UNLIMITED = 2**31 - 1


def standing_model(
    cost: FloatArray,
    bounds: tuple[FloatArray, FloatArray],
    matrix: Any,
    rows: tuple[FloatArray, FloatArray],
    *,
    solver: str = "simplex",
) -> Any:
    """A model of HiGHS: least ``cost @ x`` with ``bounds`` on x and ``rows`` on ``matrix @ x`` (sparse, by rows).

    ``solver`` is ``simplex``, which starts from the last basis, or ``ipm``, which starts anew, and pays where programs
    are so large that hardly any of a basis survives.

    Raises
    ------
    ImportError
        When HiGHS is missing, with what to install.
    """
    try:
        # Its types are there or not, as it is installed or not; what is checked should not depend on that.
        highspy: Any = importlib.import_module("highspy")
    except ModuleNotFoundError as error:
        raise ImportError("cargo flows need HiGHS: pip install 'cogtwin[routing]'") from error
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = matrix.shape
    lp.col_cost_ = cost
    lp.col_lower_, lp.col_upper_ = bounds
    lp.row_lower_, lp.row_upper_ = rows
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    model = highspy.Highs()
    model.setOptionValue("output_flag", False)
    model.setOptionValue("solver", solver)
    # Many programs run side by side.
    model.setOptionValue("threads", 1)
    model.passModel(lp)
    return model


def optimum(model: Any, what: str) -> FloatArray:
    """The optimal columns of a model.

    Raises
    ------
    ConfigError
        When HiGHS stops without an optimum; ``what`` names the program.
    """
    model.run()
    status = model.modelStatusToString(model.getModelStatus())
    if status != "Optimal":
        raise ConfigError(f"HiGHS found no optimal {what}: {status}")
    return np.array(model.getSolution().col_value)


def near_optimum(model: Any, what: str, iterations: int) -> FloatArray:
    """As :func:`optimum`: from the last basis, or anew where so many iterations of the simplex method do not suffice.

    An interior-point method that starts anew is slower than a few hundred iterations and faster than many thousand.
    """
    model.setOptionValue("solver", "simplex")
    model.setOptionValue("simplex_iteration_limit", iterations if model.getBasis().valid else 0)
    model.run()
    if model.modelStatusToString(model.getModelStatus()) == "Optimal":
        return np.array(model.getSolution().col_value)
    model.clearSolver()
    model.setOptionValue("solver", "ipm")
    model.setOptionValue("simplex_iteration_limit", _UNLIMITED)
    return optimum(model, what)
