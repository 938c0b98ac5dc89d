"""The network event by event, one replica: orders, shipments, production and outages as SimPy processes with a log.

The third engine of docs/model.md, for following single orders and for what a period model cannot say.
``detail="period"`` is exactly that model, on the same draws as :class:`twin.engine.Twin`. ``detail="continuous"`` adds
time within a period:

- Lead times are drawn in their own unit and not rounded. A shipment is stock at the first receive phase at or after the
  time at which it is ready; where a supplier may be late, its time is tabulated in steps of 1/256 period.
- A shipment that reaches a site outside its ``working_hours`` waits at the gate. Production and unloading progress in
  working hours only, so a recipe's lead time is time worked there.
- At a site with ``docks`` a shipment unloads at a berth, first come, first served; ``crossing`` is about the road.
- Perishable goods that wait at a gate or berth age there; what is bought is fresh when it is received.

Decisions, shipments out and customer demand stay at period boundaries.
"""

from twin.simulation.engine import Detail, Simulation
from twin.simulation.log import Event, EventLog
from twin.simulation.yard import DockMeasures

__all__ = ["Detail", "DockMeasures", "Event", "EventLog", "Simulation"]
