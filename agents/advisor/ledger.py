"""What the records come to: the mode, the bundle, where each proposal stands; compared with the tables of the same."""

from __future__ import annotations

from agents.advisor.store import Record, Tx

__all__ = ["Ledger"]


class Ledger:
    """Adds records up, in their order."""

    def __init__(self) -> None:
        self._mode: tuple[str, int] | None = None
        self._bundles: dict[int, tuple[str, bool, int]] = {}
        self._proposals: dict[str, tuple[str, str, int]] = {}

    def add(self, record: Record) -> None:
        """Take one record in."""
        if record.kind in {"refused", "step_refused", "created", "anchored"}:
            return
        body = record.data
        if record.kind == "mode":
            self._mode = (str(body["mode"]), record.seq)
        elif record.kind == "activated":
            self._bundles[int(body["number"])] = (str(body["bundle_id"]), False, record.seq)
        elif record.kind == "rolled_back":
            number = int(body["withdrawn"])
            self._bundles[number] = (self._bundles[number][0], True, record.seq)
        if "proposal" in body:
            self._proposals[str(body["proposal"])] = (str(body["state"]), str(body["action_hash"]), record.seq)

    def compare(self, tx: Tx) -> tuple[int, str] | None:
        """The first record that a table contradicts, and how; None when all agree."""
        entry = tx.get("mode")
        stated = None if entry is None else (entry["mode"], entry["seq"])
        if stated != self._mode:
            seq = self._mode[1] if self._mode else 1
            return (
                seq,
                f"the table says the mode is {stated and stated[0]}, record {seq} says {self._mode and self._mode[0]}",
            )
        rows = tx.query("SELECT number, bundle_id, withdrawn FROM activations")
        bundles = {int(row[0]): (str(row[1]), bool(row[2])) for row in rows}
        for number in sorted({*bundles, *self._bundles}):
            known = self._bundles.get(number)
            if known is None or bundles.get(number) != known[:2]:
                return known[
                    2
                ] if known else tx.seq, f"the table of activations differs from the records in number {number}"
        rows = tx.query("SELECT id, state, action_hash FROM proposals")
        table = {str(row[0]): (str(row[1]), str(row[2])) for row in rows}
        for name in sorted({*table, *self._proposals}, key=lambda name: self._proposals.get(name, ("", "", 0))[2]):
            found = self._proposals.get(name)
            if found is None:
                return tx.seq, f"the table has a proposal '{name}' that no record speaks of"
            if table.get(name) != found[:2]:
                state = table[name][0] if name in table else "missing"
                return found[2], f"the table says proposal '{name}' is {state}, record {found[2]} says {found[0]}"
        return None
