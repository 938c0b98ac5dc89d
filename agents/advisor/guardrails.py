"""The guard file: what a person allows the advisor, as strict YAML. Costs cannot buy any of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from agents.advisor.canonical import digest
from twin.errors import ConfigError, NetworkError
from twin.files import read_mapping
from twin.schema import Flag, NonNegative, Positive, Share, StrictModel, Whole, explain

__all__ = [
    "ApprovalRules",
    "ArcLimits",
    "AutonomyRules",
    "DemotionRules",
    "FreshnessRules",
    "Gate",
    "Guardrails",
    "LookAheadRules",
    "Mode",
    "OutlierRules",
    "PromotionRules",
    "SumLimit",
]

Mode = Literal["halted", "shadow", "advisory", "autonomous"]
Count = Annotated[int, Field(strict=True, ge=0)]


class ArcLimits(StrictModel):
    """What may be ordered on one arc. Without an entry there is no such limit."""

    #: Nothing may be ordered.
    closed: Flag | None = None
    #: Largest order, units.
    maximum: NonNegative | None = None
    #: Smallest order above 0, units.
    minimum: NonNegative | None = None
    #: Orders are whole multiples of it, units.
    lot_size: Positive | None = None
    #: How far above and below the last order the next may lie, units.
    maximum_increase: NonNegative | None = None
    maximum_decrease: NonNegative | None = None
    #: Only low risk is ordered without a person.
    risk: Literal["low", "high"] | None = None


class SumLimit(StrictModel):
    """A limit on all orders together: ``each`` times the orders, summed, at most ``limit``."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    kind: Literal["budget", "capacity", "labour", "emissions"]
    unit: str
    limit: NonNegative
    #: One decision, or all that is executed in a day (UTC).
    per: Literal["decision", "day"] = "decision"
    #: Units of the limit that one unit ordered takes, by arc. A budget without it takes the prices.
    each: dict[str, NonNegative] = Field(default_factory=dict)
    #: The same for the arcs that ``each`` does not name.
    default: NonNegative = 0.0


class ApprovalRules(StrictModel):
    """Who must approve, and until when."""

    expires_after_seconds: Positive = 3600.0
    #: Orders worth more need two persons; None: one person is always enough.
    two_persons_above: NonNegative | None = None


class AutonomyRules(StrictModel):
    """What may be ordered without a person."""

    #: Worth of the orders of one decision; 0 lets nothing through that costs anything.
    spend_limit: NonNegative = 0.0


class FreshnessRules(StrictModel):
    """How old the state may be, seconds."""

    #: None: the age is not looked at, and a state needs no time.
    maximum_age_seconds: Positive | None = None
    #: The same by field.
    fields: dict[str, Positive] = Field(default_factory=dict)
    #: How far in the future a time may lie: clocks of two machines differ.
    future_tolerance_seconds: NonNegative = 5.0
    #: How far this machine's clock may step back before nothing is decided.
    clock_tolerance_seconds: NonNegative = 5.0

    def maximum_age(self, field: str) -> float | None:
        """Seconds that a field's value may be old; None where its age is not looked at."""
        return self.fields.get(field, self.maximum_age_seconds)


class OutlierRules(StrictModel):
    """What happens with a state unlike those of training."""

    #: ``flag``: decided, but never without a person; ``fallback``: the fallback decides; ``block``: no advice.
    action: Literal["flag", "fallback", "block"] = "flag"


class DemotionRules(StrictModel):
    """When the mode falls by itself: shares of the last ``window`` decisions, once there are ``minimum`` of them."""

    window: Annotated[int, Field(strict=True, ge=1)] = 50
    minimum: Annotated[int, Field(strict=True, ge=1)] = 10
    stale: Share = 0.2
    outliers: Share = 0.2
    blocked: Share = 0.2


class Gate(StrictModel):
    """What must hold before a person may raise the mode: counted in the mode below since it began."""

    decisions: Count = 0
    outliers: Share = 1.0
    blocked: Share = 1.0


class PromotionRules(StrictModel):
    """The gate of each mode; whoever wants none writes so: ``advisory: {decisions: 0}``."""

    shadow: Gate = Gate()
    advisory: Gate = Gate(decisions=20)
    autonomous: Gate = Gate(decisions=50, outliers=0.1, blocked=0.05)


class LookAheadRules(StrictModel):
    """How orders are compared with the fallback's before they are advised, see :mod:`agents.advisor.rollouts`."""

    #: How far to look; None takes three times the longest way from an order to the customers, and at least 24.
    periods: Annotated[int, Field(strict=True, ge=1)] | None = None
    #: Worlds that each first decision is run in.
    paths: Annotated[int, Field(strict=True, ge=8, le=4096)] = 64
    #: Share of the fallback's expected cost by which orders may be dearer.
    margin: NonNegative = 0.01
    #: Of the intervals: orders are refused when even the lower end is dearer by more than the margin.
    confidence: Annotated[float, Field(strict=True, gt=0.5, lt=1.0)] = 0.95
    #: Seconds after which it is given up, and nothing was compared.
    timeout_seconds: Positive = 5.0


class Guardrails(StrictModel):
    """A guard file. Build one with :meth:`load`."""

    version: Annotated[Whole, Field(ge=1, le=1)] = 1
    #: No person can raise the mode above it.
    highest_mode: Mode = "advisory"
    default: ArcLimits = ArcLimits()
    arcs: dict[str, ArcLimits] = Field(default_factory=dict)
    #: Currency per unit ordered, by arc.
    prices: dict[str, NonNegative] = Field(default_factory=dict)
    limits: tuple[SumLimit, ...] = ()
    approval: ApprovalRules = ApprovalRules()
    autonomy: AutonomyRules = AutonomyRules()
    freshness: FreshnessRules = FreshnessRules()
    outliers: OutlierRules = OutlierRules()
    demotion: DemotionRules = DemotionRules()
    promotion: PromotionRules = PromotionRules()
    #: None: nothing is compared.
    look_ahead: LookAheadRules | None = None
    #: Seconds after which the policy is given up and the fallback decides.
    policy_timeout_seconds: Positive = 1.0

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [limit.name for limit in self.limits]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two limits are named '{name}'; a decision could not say which one it met")
        return self

    @classmethod
    def parse(cls, data: object, where: str) -> Guardrails:
        """From plain data.

        Raises
        ------
        ConfigError
            One line per problem: place, value, what is allowed, nearest match.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError("\n".join(f"{where}: {line}" for line in explain(error))) from None

    @classmethod
    def load(cls, path: str | Path) -> Guardrails:
        """From a YAML or JSON file; ConfigError as in :meth:`parse`, or when it cannot be read."""
        try:
            data = read_mapping(path)
        except NetworkError as error:
            raise ConfigError(str(error)) from None
        return cls.parse(data, str(path))

    def risk_of(self, arc: str) -> Literal["low", "high"]:
        """Whether an arc is never ordered on without a person."""
        own = self.arcs.get(arc)
        return (None if own is None else own.risk) or self.default.risk or "low"

    def to_dict(self) -> dict[str, Any]:
        """Plain data that :meth:`parse` reads."""
        return self.model_dump(mode="json")

    @property
    def content_hash(self) -> str:
        """SHA-256 of what it says, however it was written."""
        return digest(self.to_dict())
