"""The lists name everything that the registries have; the information names what runs here."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import gymnasium
import pytest

import configs
from agents.registry import BASELINES
from experiments import info
from experiments.catalogue import KINDS, catalogue
from experiments.info import information
from experiments.list import listing, main
from twin import library
from twin.errors import ConfigError, NetworkError

CONFIGS = Path(str(configs.__file__)).parent


def test_every_registry_is_whole() -> None:
    """One entry for each environment, network, agent, policy, suite and experiment, none without words."""
    assert set(catalogue("policies")) == set(BASELINES)
    assert set(catalogue("networks")) == set(library.names())
    for kind, group in (
        ("agents", "agent"),
        ("scenarios", "scenario"),
        ("suites", "suite"),
        ("experiments", "experiment"),
        ("searches", "search"),
        ("launchers", "launcher"),
    ):
        assert set(catalogue(kind)) == {path.stem for path in (CONFIGS / group).glob("*.yaml")}
    ids = {name for name in gymnasium.registry if name.startswith("cogtwin/")}
    assert {"cogtwin/Inventory-v0", "cogtwin/SupplierSwitching-v0"} <= set(catalogue("environments")) <= ids
    for kind in KINDS:
        for name, about in catalogue(kind).items():
            assert about, f"{kind}: {name}"
            assert "\n" not in about


def test_commands_are_those_that_run() -> None:
    """Each has a module with a command line, and each such module is named."""
    assert set(catalogue("commands")) >= {"train", "evaluate", "compare", "benchmark", "report", "list", "info"}
    assert "catalogue" not in catalogue("commands")


@pytest.mark.parametrize("name", sorted(catalogue("commands")))
def test_every_command_has_help_with_examples(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    importlib.import_module(f"experiments.{name}").main()
    assert f"\n  python -m experiments.{name}" in capsys.readouterr().out


def test_lists_can_be_chosen_and_narrowed() -> None:
    """One line each at any width; policies that do not fit a network are left out."""
    text = listing(["policies", "suites"], width=10_000)
    assert len(text.splitlines()) == len(BASELINES) + len(catalogue("suites")) + 3
    assert all(len(line) <= 60 for line in listing(["networks"], width=60).splitlines())
    fitting = listing(["policies"], network="serial_chain")
    assert "echelon_base_stock" in fitting
    assert "myopic" not in fitting
    with pytest.raises(ConfigError, match="did you mean 'policies'"):
        listing(["polices"])
    with pytest.raises(NetworkError, match="did you mean 'serial_chain'"):
        listing(["policies"], network="serial_chian")


def test_the_list_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["list", "networks"])
    main()
    output = capsys.readouterr().out.splitlines()
    assert len(output) == 1 + len(library.names())
    monkeypatch.setattr(sys, "argv", ["list", "network=none", "policies"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    monkeypatch.setattr(sys, "argv", ["list", "--help"])
    main()
    assert "experiments.list policies" in capsys.readouterr().out


def test_information_names_versions_and_no_one() -> None:
    """Every package with its version; nothing of the machine's or the user's name."""
    import getpass
    import platform

    found = information()
    assert found["packages"]["torch"][0].isdigit()
    assert found["machine"]["python"] == platform.python_version()
    text = json.dumps(found)
    assert platform.node() not in text
    if len(getpass.getuser()) > 4:
        assert getpass.getuser() not in text


def test_the_info_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["info"])
    info.main()
    assert "stable-baselines3" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["info", "json"])
    info.main()
    assert set(json.loads(capsys.readouterr().out)) == {"project", "machine", "packages", "optional packages"}
    monkeypatch.setattr(sys, "argv", ["info", "jsn"])
    with pytest.raises(SystemExit):
        info.main()
    assert "did you mean 'json'" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["info", "--help"])
    info.main()
    assert "bug report" in capsys.readouterr().out
