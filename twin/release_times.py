"""When a distribution centre released its goods, where the file has no dispatch date.

Documents are numbered in order of time, so the dates of the documents around one bracket the day it was issued.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from twin.calibration import serial_brackets
from twin.shipments import DIRECT, FROM_STOCK, LeadTime, Line, Selection

__all__ = ["document_dates", "estimate_errors", "release_times"]

#: A bracket wider than this says too little about when a document was issued.
WIDEST_BRACKET_DAYS = 90
#: Documents on either side that bound a document's date; more neighbours let one wrong date spoil more brackets.
BRACKET_NEIGHBOURS = 20


def document_dates(lines: Iterable[Line], number_of: Callable[[Line], str]) -> tuple[dict[str, float], Counter[str]]:
    """Estimate when serially numbered documents were issued, from dates of the documents around them.

    A document was issued before the first delivery among itself and the documents that follow, and after the last
    price quote among itself and the documents before it. The estimate is the middle of that bracket.

    Parameters
    ----------
    lines
        All lines of one numbering, in any order.
    number_of
        The document name of a line, ending in its number.

    Returns
    -------
    dates
        Document -> ordinal day of issue, for documents with a consistent bracket of at most
        ``WIDEST_BRACKET_DAYS`` days.
    refused
        Reason -> number of documents without an estimate.
    """
    documents: dict[int, list[Line]] = {}
    refused: Counter[str] = Counter()
    for line in lines:
        match = re.search(r"(\d+)$", number_of(line))
        if match:
            documents.setdefault(int(match[1]), []).append(line)
        else:
            refused["no document number"] += 1
    members = [documents[number] for number in sorted(documents)]
    delivered = [min(line.delivered.toordinal() for line in group) for group in members]
    earliest, latest = serial_brackets([_last_quote(group) for group in members], delivered, BRACKET_NEIGHBOURS)
    dates: dict[str, float] = {}
    for group, low, high in zip(members, earliest, latest, strict=True):
        if not math.isfinite(low):
            refused["no price quote near the document"] += 1
        elif high < low:
            refused["dates around the document contradict its number"] += 1
        elif high - low > WIDEST_BRACKET_DAYS:
            refused[f"bracket wider than {WIDEST_BRACKET_DAYS} days"] += 1
        else:
            dates[number_of(group[0])] = 0.5 * (float(low) + float(high))
    return dates, refused


def _last_quote(group: Sequence[Line]) -> float:
    return max((line.quoted.toordinal() for line in group if line.quoted is not None), default=-math.inf)


def release_times(lines: Iterable[Line]) -> tuple[list[LeadTime], Selection]:
    """Days from the issue of a delivery note at a distribution centre to delivery, one per note.

    The counts are of delivery notes, not lines.
    """
    stock = [line for line in lines if line.fulfilment == FROM_STOCK]
    dates, refused = document_dates(stock, lambda line: line.note)
    found: list[LeadTime] = []
    for line in stock:
        # Taken out of the dates, so that the first line of a note stands for all of it.
        issued = dates.pop(line.note, None)
        if issued is None:
            continue
        days = line.delivered.toordinal() - issued
        if days <= 0.0:
            refused["zero lead time"] += 1
        elif line.mode is None:
            refused[f"no shipment mode: {line.absent['mode']}"] += 1
        else:
            found.append(LeadTime(days, line))
    return found, Selection(len(found), refused)


def estimate_errors(lines: Iterable[Line]) -> NDArray[np.float64]:
    """The estimate tried on purchase orders of direct deliveries, whose true date the file has.

    Returns
    -------
    ndarray, shape (orders,)
        True date minus estimate, in days.
    """
    direct = [line for line in lines if line.fulfilment == DIRECT]
    dates, _ = document_dates(direct, lambda line: line.order)
    known = {line.order: line.ordered for line in direct if line.ordered is not None and line.order in dates}
    return np.array([true.toordinal() - dates[order] for order, true in known.items()])
