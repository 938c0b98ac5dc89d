"""The advisor: states in, decisions out, each on record before anybody acts on it."""

from __future__ import annotations

from pathlib import Path

from agents.advisor import activation, approvals, modes
from agents.advisor.active import Active
from agents.advisor.approving import Approving
from agents.advisor.clock import text_of
from agents.advisor.core import check_person, load_activation
from agents.advisor.deciding import Deciding
from agents.advisor.dispatch import Sender
from agents.advisor.errors import AdvisorError
from agents.advisor.fallback import FALLBACKS
from agents.advisor.guardrails import Guardrails, Mode
from agents.advisor.outbox import recover
from agents.advisor.outliers import OutlierModel
from agents.advisor.pipeline import LookAhead
from agents.advisor.store import Store, Tx, open_store
from agents.bundle import Bundle
from twin.errors import BundleError, ConfigError, did_you_mean

__all__ = ["Advisor"]


class Advisor(Deciding, Approving):
    """Decides with one bundle at a time, under guards, in a mode, with approvals, on record.

    Parameters
    ----------
    bundle
        A loaded bundle or its folder; None takes the one that the store has active. A store without one activates it.
    store
        A store or its address (:func:`agents.advisor.store.open_store`).
    mode
        Of a store that has none yet: ``shadow``, ``advisory`` or ``halted``. Afterwards the mode is what the records
        say, and :meth:`set_mode` changes it.
    guardrails
        The guard file or its path, for the first activation; None takes the one that the bundle brings.
    outliers
        What training looked like, for the first activation; None takes the bundle's, where it has one.
    sender
        Where orders go; None hands them to the caller.
    fallback
        A name of :data:`agents.advisor.fallback.FALLBACKS`; usually the classical policy that the bundle brings.
    look_ahead
        Compares orders before they are advised; None does what the guard file's ``look_ahead`` says.

    Raises
    ------
    AdvisorError
        ``NO_RECORD`` or ``CHAIN_BROKEN`` by the store, ``NO_BUNDLE``, or ``BUNDLE_MISMATCH`` when another bundle is
        active than the one given.
    BundleError
        When the bundle cannot be trusted.
    ConfigError
        When guard file or outlier model do not fit the bundle.
    """

    def __init__(
        self,
        bundle: Bundle | str | Path | None,
        store: Store | str | Path,
        *,
        mode: str = "shadow",
        guardrails: Guardrails | str | Path | None = None,
        outliers: OutlierModel | None = None,
        sender: Sender | None = None,
        fallback: str = "bundle",
        look_ahead: LookAhead | None = None,
    ) -> None:
        if fallback not in FALLBACKS:
            raise ConfigError(
                f"no fallback '{fallback}' (allowed: {', '.join(FALLBACKS)}){did_you_mean(fallback, FALLBACKS)}"
            )
        super().__init__(store if isinstance(store, Store) else open_store(store), sender, fallback, look_ahead)
        with self.store.read() as tx:
            number, begun = activation.active_number(tx), tx.get("mode") is not None
        if number == 0 and bundle is not None:
            loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
            self.activate(loaded, guardrails=guardrails, outliers=outliers, person="setup", reason="first bundle")
        elif bundle is not None:
            given = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
            active = self.active.bundle_id
            if given.bundle_id != active:
                raise AdvisorError(
                    "BUNDLE_MISMATCH", f"bundle {active[:12]} is active, not {given.bundle_id[:12]}; activate that one"
                )
        if not begun:
            self._first_mode(mode)
        self.recover()

    @property
    def mode(self) -> Mode:
        """The mode now."""
        with self.store.read() as tx:
            return modes.current_mode(tx)

    def activate(
        self,
        bundle: Bundle | str | Path,
        *,
        person: str,
        reason: str = "",
        guardrails: Guardrails | str | Path | None = None,
        outliers: OutlierModel | None = None,
    ) -> str:
        """Load a bundle, run its golden cases, and let it decide from now on; its id.

        Whatever goes wrong, the active one stays. Nothing acts alone with a new bundle: autonomous becomes advisory.
        What counts where guard file and outlier model are left out: :meth:`Active.settings_of`.

        Raises
        ------
        BundleError, ConfigError
            As for the class.
        AdvisorError
            ``PERSON`` without a name, ``CONFLICT`` when another bundle was activated meanwhile.
        """
        check_person(person)
        with self.store.read() as tx:
            number = activation.active_number(tx)
            before = activation.find_activation(tx, number).settings if number else None
        try:
            rails = guardrails if isinstance(guardrails, Guardrails | None) else Guardrails.load(str(guardrails))
            loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
            settings = Active.settings_of(loaded, rails, outliers, before)
            active = Active.of(loaded, settings)
        except (BundleError, ConfigError) as error:
            path = str(bundle.path if isinstance(bundle, Bundle) else bundle)
            with self.store.write() as tx:
                tx.append("activation_refused", {"path": path, "person": person, "detail": str(error)})
            raise
        with self.loading, self.store.write() as tx:
            self._unchanged(tx, number)
            path = str(active.bundle.path.resolve())
            number = activation.activate(tx, active, path, settings, person=person, reason=reason)
        self.current = (number, active)
        return active.bundle_id

    def roll_back(self, *, person: str, reason: str = "") -> str:
        """Go back to the bundle before; its id.

        Raises
        ------
        AdvisorError
            ``NO_ROLLBACK`` when there is none, ``BAD_BUNDLE`` when its files cannot be trusted; the active one stays.
        """
        check_person(person)
        with self.store.read() as tx:
            number = activation.active_number(tx)
            rows = tx.query(
                "SELECT MAX(number) FROM activations WHERE withdrawn = 0 AND number < :number", {"number": number}
            )
            if rows[0][0] is None:
                raise AdvisorError("NO_ROLLBACK", "there is no bundle before the active one")
            to = activation.find_activation(tx, int(rows[0][0]))
        active = load_activation(to)
        with self.loading, self.store.write() as tx:
            self._unchanged(tx, number)
            activation.roll_back(tx, number, to, person=person, reason=reason)
        self.current = (to.number, active)
        return active.bundle_id

    def set_mode(self, mode: str, *, person: str, reason: str = "") -> Mode:
        """Lower the mode, or raise it by one where its gate lets it through; the mode.

        Raises
        ------
        AdvisorError
            ``GATE`` with what is missing, ``REQUEST`` for a word that is no mode.
        """
        check_person(person)
        active = self.active
        with self.store.write() as tx:
            now = self.settle(tx, active)
            if mode not in modes.MODES or modes.MODES.index(mode) > modes.MODES.index(now):
                modes.check_promotion(tx, mode, active.rails, active.highest_mode, self._blockers(tx, active, mode))
            if mode != now:
                modes.change_mode(tx, modes.lowest(mode, mode), person=person, reasons=["PERSON"], detail=reason)
            return modes.current_mode(tx)

    def halt(self, *, person: str, reason: str = "") -> None:
        """Stop: nothing is decided, approved or executed until a person says otherwise."""
        check_person(person)
        with self.store.write() as tx:
            if modes.current_mode(tx) != "halted":
                modes.change_mode(tx, "halted", person=person, reasons=["PERSON"], detail=reason)

    def flag_fidelity(self, bad: bool, detail: str = "") -> None:
        """The twin's own check says that it no longer matches the world (or does again): no autonomy on it."""
        with self.store.write() as tx:
            tx.append("fidelity", {"bad": bad, "detail": detail})
            tx.set("fidelity", {"bad": bad, "detail": detail})
            if bad:
                modes.demote(tx, ["FIDELITY"], detail)

    def recover(self) -> list[str]:
        """Give up executions whose process ended, expire what is due; the proposals that are unknown now."""
        with self.store.write() as tx:
            lost = recover(tx)
            approvals.expire_due(tx)
        return lost

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    @staticmethod
    def _unchanged(tx: Tx, number: int) -> None:
        if activation.active_number(tx) != number:
            raise AdvisorError("CONFLICT", "another bundle was activated meanwhile; look again")

    def _first_mode(self, mode: str) -> None:
        if mode not in {"halted", "shadow", "advisory"}:
            raise AdvisorError(
                "GATE",
                f"a store begins halted, in shadow or advisory, not '{mode}'; a person raises it with set_mode"
                f"{did_you_mean(mode, modes.MODES)}",
            )
        with self.store.write() as tx:
            if tx.get("mode") is None:
                modes.change_mode(tx, modes.lowest(mode, mode), person="setup", reasons=["FIRST_MODE"])

    def _blockers(self, tx: Tx, active: Active, wanted: str) -> list[str]:
        """What stands against a higher mode now, in sentences."""
        why = []
        if active.valid_until is not None and text_of(tx.now) >= active.valid_until and wanted != "shadow":
            why.append(f"the bundle was valid until {active.valid_until}")
        if wanted == "autonomous":
            lost = approvals.proposals(tx, "unknown")
            if lost:
                why.append(f"{len(lost)} outcomes are unknown; resolve them first ('{lost[0].id}')")
            flag, drift = tx.get("fidelity"), tx.get("drift")
            if flag is not None and flag["bad"]:
                why.append(f"the twin does not match the world: {flag['detail']}")
            if drift is not None and active.outliers is not None and drift["length"] > active.outliers.drift.threshold:
                why.append("the states drift away from those of training")
        return why
