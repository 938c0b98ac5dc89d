"""What perfect foresight would pay on the evaluation paths: a bound that no policy can beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from agents.oracles.cargo_foresight import foresight_costs
from agents.oracles.hindsight_lp import hindsight_plan
from experiments.config import EnvConfig, EvaluationConfig, NetworkConfig
from experiments.problems import routing_task
from twin.compile import CompiledNetwork
from twin.engine import Twin
from twin.errors import ConfigError
from twin.seeds import Purpose, world_seed

__all__ = ["check_bound", "hindsight_costs"]


def check_bound(env: EnvConfig, evaluation: EvaluationConfig, paths: int) -> None:
    """Check that a bound can stand beside the costs of an evaluation.

    Raises
    ------
    ConfigError
        When the paths begin with a warm-up: then every policy begins its counted periods elsewhere; or when routing
        does not end, so that nothing says what cargo under way is worth.
    """
    if env.routes and not env.finite:
        raise ConfigError("bound: of routing it is known to a finite horizon; use env.finite=true")
    if not env.finite and evaluation.warm_up > 0:
        raise ConfigError(
            f"bound: starts where the network does; received evaluation.warm_up={evaluation.warm_up}, "
            "use evaluation.warm_up=0 or a finite horizon (env.finite=true)"
        )
    if paths > evaluation.paths:
        raise ConfigError(f"bound: must be at most evaluation.paths={evaluation.paths}, received {paths}")


def hindsight_costs(
    compiled: CompiledNetwork, network: NetworkConfig, env: EnvConfig, evaluation: EvaluationConfig, paths: int
) -> NDArray[np.float64]:
    """Least cost per period that foresight could reach on each of the first ``paths`` paths, from where they begin.

    ``network`` says which liner network, in routing.
    """
    seed = world_seed(Purpose.EVALUATION, evaluation.seed)
    if env.routes:
        with tqdm(total=paths, desc="hindsight bound", unit="path", disable=None, leave=False) as bar:
            return foresight_costs(routing_task(network, env), seed, paths, bar.update)
    periods = env.horizon if env.finite else evaluation.periods
    twin = Twin(compiled, replicas=paths, seed=seed)
    draws = twin.tape.block(twin.state, periods)
    chosen = tqdm(range(paths), desc="hindsight bound", unit="path", disable=None, leave=False)
    totals = [hindsight_plan(twin.state, draws, replica=b, with_terminal_value=env.finite).cost for b in chosen]
    return np.array(totals) / periods
