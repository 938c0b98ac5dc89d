"""The command that finds the candidate itineraries of a user's own network."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from envs.routing import RoutingTask
from experiments.itineraries import main
from twin.liner.itineraries import read_candidates, shipped_candidates
from twin.liner.library import load


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["itineraries", *words])
    main()


def test_those_of_the_network_that_ships_are_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And an environment takes the file; a second call does not overwrite it."""
    pytest.importorskip("highspy", reason="candidates need the extra 'routing'")
    target = tmp_path / "itineraries.yaml"
    run(monkeypatch, "network=baltic", f"output={target}")
    baltic = load("baltic")
    assert set(read_candidates(target, baltic)) == set(shipped_candidates(baltic))
    assert str(len(shipped_candidates(baltic))) in capsys.readouterr().out
    assert (
        RoutingTask("baltic", itineraries=target, scenario=None).fields == RoutingTask("baltic", scenario=None).fields
    )
    with pytest.raises(SystemExit):
        run(monkeypatch, "network=baltic", f"output={target}")
    assert str(target) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["network=baltic"], "give output=<file>"),
        (["netwrk=baltic", "output=x.yaml"], "did you mean 'network'"),
        (["network=baltik", "output=x.yaml"], "did you mean 'baltic'"),
        (["network=baltic", "output=x.yaml", "most=few"], "'few' is no whole number"),
        (["network=baltic", "output=x.yaml", "most=0"], "received 0"),
    ],
)
def test_wrong_words_are_refused(
    words: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, *words)
    assert caught.value.code == 2
    assert part in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
