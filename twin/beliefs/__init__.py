"""What somebody who watches a network knows of its outages, as probabilities of what nobody sees."""

from twin.beliefs.posterior import OutagePosterior, ever_fails, outages_unfit

__all__ = ["OutagePosterior", "ever_fails", "outages_unfit"]
