"""The typed schema of the real-demand study."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from experiments.config import Count, Seed
from twin.schema import NonNegative, Positive, StrictModel, Whole

__all__ = ["LearnerConfig", "RealDemandConfig", "SearchConfig"]

_FromZero = Annotated[int, Field(strict=True, ge=0)]


class LearnerConfig(StrictModel):
    """Training of the learned policy; see :class:`experiments.real_demand_learner.Learning`."""

    seeds: list[_FromZero] = Field(default=[0, 1, 2], min_length=1)
    updates: Count = 200
    every: Count = 10
    learning_rate: Positive = 1e-2
    weight_decay: NonNegative = 0.05
    net_arch: list[Count] = Field(default=[64, 64], min_length=1)

    @model_validator(mode="after")
    def _once(self) -> LearnerConfig:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: a seed is given twice")
        return self


class SearchConfig(StrictModel):
    """Search of the classical rules' parameters; see :class:`experiments.real_demand_rules.Search`."""

    restarts: Count = 3
    generations: Count = 80
    candidates: Annotated[int, Field(strict=True, ge=4)] = 20
    seed: int = Seed


class RealDemandConfig(StrictModel):
    """Everything ``experiments.real_demand`` needs; ``configs/real_demand.yaml`` says what each key is."""

    data: str
    train_weeks: Count = 110
    tune_weeks: Count = 30
    least_listed: Count = 8
    active_least: Count = 13
    active_window: Count = 26
    forecast_lag: Annotated[int, Field(strict=True, ge=0, le=52)] = 0
    carry: _FromZero = 4
    lead_time: Annotated[Whole, Field(ge=1, le=52)] = 4
    holding: Positive = 1.0
    penalty: Positive = 9.0
    learner: LearnerConfig = Field(default_factory=LearnerConfig)
    search: SearchConfig = Field(default_factory=SearchConfig)
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    resamples: Count = 5000
    output: str = "runs"

    @model_validator(mode="after")
    def _together(self) -> RealDemandConfig:
        if self.active_least > self.active_window:
            raise ValueError(
                f"active_least must be at most active_window, received {self.active_least} and {self.active_window}"
            )
        if self.train_weeks <= self.lead_time + 1:
            raise ValueError(f"train_weeks must exceed lead_time + 1, received {self.train_weeks} and {self.lead_time}")
        return self
