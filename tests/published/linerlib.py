"""The published networks of the LINERLIB benchmark, with the weekly objective that their logs give."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    instance: str
    log: str
    market: str
    objective: float


NETWORKS = {
    "baltic_base": Published("Baltic", "Baltic_best_base", "base", 246_605),
    "baltic_high": Published("Baltic", "Baltic_best_high_32766_3", "high", 430_593),
    "baltic_low": Published("Baltic", "Baltic_best_low_30827_3", "low", -137_369),
    "waf_base": Published("WAF", "WAF_base_best", "base", 5.59038e6),
    "waf_high": Published("WAF", "WAF_high_best_pid_21672_3", "high", 6.42445e6),
    "waf_high_corrected": Published("WAF", "Corrected_WAF_high_pid_21320_10", "high", 6.26447e6),
    "mediterranean_base": Published("Mediterranean", "Med_base_best", "base", -1.28612e6),
    "mediterranean_high": Published("Mediterranean", "Med_high_best_5840_1", "high", -937_839),
    "mediterranean_low": Published("Mediterranean", "Med_low_best_12808_11", "low", -2.14856e6),
}
