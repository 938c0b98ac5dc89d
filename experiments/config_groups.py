"""The typed schema of the groups of keys that commands share: network, environment, agent, training and the rest."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat

from envs.actions import ActionMode
from envs.inventory_features import ArrivalMode, Group
from envs.routing_actions import RoutingMode
from envs.routing_features import RoutingGroup
from envs.switching_actions import SwitchingMode
from twin.schema import StrictModel

__all__ = [
    "AgentConfig",
    "Count",
    "EnvConfig",
    "EvaluationConfig",
    "LauncherConfig",
    "NetworkConfig",
    "NormaliseConfig",
    "RoutingConfig",
    "Seed",
    "TrainingConfig",
    "TuningConfig",
    "ValidationConfig",
]

# Strict: neither `true` nor "5" is a number.
Count = Annotated[int, Field(strict=True, gt=0)]
Seed = Field(default=0, ge=0, lt=1 << 32, strict=True)


class NetworkConfig(StrictModel):
    """Which network: a library name or a path, and the parameters of a family."""

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class RoutingConfig(StrictModel):
    """What only routing has; see :class:`envs.routing.RoutingEnv`."""

    itineraries: str | None = None
    terms: dict[str, Any] = Field(default_factory=dict)
    scenario: str | None = "random_events"
    severity: float | None = Field(default=None, ge=0.0, lt=1.0)
    port_headroom: float = Field(default=1.25, ge=1.0)
    decision: Literal["day", "week"] = "day"
    base: Literal["nominal", "queue", "none"] = "nominal"
    price_scale: PositiveFloat = 500.0


class EnvConfig(StrictModel):
    """The decision problem; see :class:`envs.inventory.InventoryEnv`, :class:`envs.switching.SupplierSwitchingEnv` and
    :class:`envs.routing.RoutingEnv`.
    """

    id: Literal["cogtwin/Inventory-v0", "cogtwin/SupplierSwitching-v0", "cogtwin/Routing-v0"] = "cogtwin/Inventory-v0"
    action_mode: ActionMode | SwitchingMode | RoutingMode = "base_stock"
    residual: bool = False
    residual_scale: PositiveFloat = 0.5
    base: Literal["status", "risk"] = "status"
    notches: list[PositiveFloat] = Field(default=[1.0], min_length=1)
    horizon: Count = 104
    finite: bool = False
    observe: list[Group | RoutingGroup] | None = Field(default=None, min_length=1)
    arrivals: ArrivalMode = "bands"
    forecast: Count = 1
    routing: RoutingConfig = RoutingConfig()

    @property
    def switching(self) -> bool:
        """Whether the decisions are those of supplier switching."""
        return self.id == "cogtwin/SupplierSwitching-v0"

    @property
    def routes(self) -> bool:
        """Whether the decisions are those of routing."""
        return self.id == "cogtwin/Routing-v0"

    def meets(self, scenario: str) -> EnvConfig:
        """The same with a scenario of liner networks in the place of its own; ``none`` leaves that."""
        if scenario == "none":
            return self
        return self.model_copy(update={"routing": self.routing.model_copy(update={"scenario": scenario})})

    @property
    def action_space(self) -> str:
        """Name of the action space."""
        if self.action_mode == "itinerary":
            return "MultiDiscrete"
        return "Discrete" if self.action_mode in ("discrete", "moves") else "Box"


class NormaliseConfig(StrictModel):
    """Running normalisation during training."""

    observation: bool = True
    reward: bool = True
    clip_observation: PositiveFloat = 10.0


class AgentConfig(StrictModel):
    """The learning algorithm, its networks, and its own parameters by their Stable-Baselines3 names."""

    algorithm: str = "ppo"
    net_arch: list[Count] = Field(default=[64, 64])
    activation: str = "tanh"
    log_std_init: float | None = -1.0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    normalise: NormaliseConfig = NormaliseConfig()
    parameters: dict[str, Any] = Field(default_factory=dict)


class ValidationConfig(StrictModel):
    """Evaluation during training, on seeds of its own."""

    paths: Count = 64
    periods: Count = 104
    warm_up: int = Field(default=104, ge=0, strict=True)


class TrainingConfig(StrictModel):
    """How long, on how many replicas, from which seed."""

    steps: Count = 1_000_000
    replicas: Count = 128
    seed: int = Seed
    device: str = "cpu"
    threads: Count = 1
    stagger: bool = True
    accrual: bool = False
    paired: bool = False
    evaluate_every: Count = 100_000
    checkpoint_every: Count = 100_000
    patience: int | None = Field(default=None, gt=0, strict=True)
    validation: ValidationConfig = ValidationConfig()


class EvaluationConfig(StrictModel):
    """The final comparison, on seeds that neither training nor tuning used."""

    seed: int = Seed
    paths: int = Field(default=512, ge=2, strict=True)
    periods: Count = 104
    warm_up: int = Field(default=104, ge=0, strict=True)
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    resamples: int = Field(default=5000, ge=100, strict=True)


class TuningConfig(StrictModel):
    """The search for the parameters of classical policies; see :class:`agents.baselines.tuning.TuningBudget`."""

    seed: int = Seed
    restarts: Count = 2
    generations: Count = 200
    candidates: int = Field(default=48, ge=4, strict=True)
    paths: Count = 8
    periods: Count = 104
    warm_up: int = Field(default=104, ge=0, strict=True)


class LauncherConfig(StrictModel):
    """Where several things are done at once; see :mod:`experiments.launchers`."""

    kind: Literal["serial", "processes", "ray"] = "processes"
    retries: int = Field(default=2, ge=0, strict=True)
