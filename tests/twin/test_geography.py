"""Sea distances: the package's own figures, published passages closed, and nothing shared with other callers."""

from __future__ import annotations

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from twin.errors import DataError
from twin.geography import PASSAGES, closure_tables, great_circle_nm, listed_ports, sea_routes

searoute = pytest.importorskip("searoute", reason="needs the extra 'routing'")

#: Approaches of three ports: distances begin at the nearest point of the sea lanes, so a few miles depend on them.
SHANGHAI, ROTTERDAM, SINGAPORE = (121.84, 31.26), (4.07, 51.99), (103.76, 1.26)
ODESSA, DURBAN, NEW_YORK, YOKOHAMA, SUVA = (30.74, 46.5), (31.0, -29.9), (-74.0, 40.6), (139.7, 35.4), (178.4, -18.1)
PLACES = [SHANGHAI, ROTTERDAM, SINGAPORE, ODESSA, DURBAN, NEW_YORK, YOKOHAMA, SUVA]


def package(one, other, closed):
    """Length in nautical miles and passages, from the package itself; its warning of no route is expected."""
    names = ["northwest", *(PASSAGES[name] for name in closed)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = searoute.searoute(list(one), list(other), units="m", restrictions=names, return_passages=True)
    return found["properties"]["length"] / 1852.0, set(found["properties"]["traversed_passages"])


@pytest.mark.parametrize(
    ("one", "other", "closed", "nm"),
    [
        (SHANGHAI, ROTTERDAM, (), 10546),
        (SHANGHAI, ROTTERDAM, ("suez",), 13466),
        (SHANGHAI, ROTTERDAM, ("suez", "panama"), 13866),
        (SINGAPORE, ROTTERDAM, (), 8365),
        (SINGAPORE, ROTTERDAM, ("bab_el_mandeb",), 11853),
    ],
)
def test_known_distances(one, other, closed, nm):
    """Figures of the package for these passages, rounded to whole miles."""
    assert round(sea_routes([one, other], closed).distance_nm[0, 1]) == nm


def test_without_suez_the_way_is_through_panama():
    """The passages that a route takes are told."""
    through = sea_routes([SHANGHAI, ROTTERDAM], ["suez"]).through
    assert {name for name, used in through.items() if used[0, 1]} == {"panama"}


@pytest.mark.parametrize(
    "closed", [(), ("suez",), ("panama", "suez"), ("bab_el_mandeb",), ("malacca", "sunda"), ("gibraltar",)], ids=str
)
def test_distances_and_passages_are_those_of_the_package(closed):
    """Every pair, in both directions, to a billionth; the package does not tell the Dardanelles."""
    routes = sea_routes(PLACES, closed)
    np.testing.assert_array_equal(np.diag(routes.distance_nm), 0.0)
    np.testing.assert_allclose(routes.distance_nm, routes.distance_nm.T, rtol=1e-12)
    for i in range(len(PLACES)):
        for j in range(i):
            nm, names = package(PLACES[i], PLACES[j], closed)
            assert routes.distance_nm[i, j] == pytest.approx(nm, rel=1e-9), (i, j)
            used = {PASSAGES[name] for name, through in routes.through.items() if through[i, j]}
            assert used - {"dardanelles"} == names


def test_impossible_is_infinite():
    """Where the package returns 0 there is no route; within the closed sea there still is."""
    constanta = (28.7, 44.1)
    routes = sea_routes([ODESSA, ROTTERDAM, constanta], ["bosporus"])
    assert package(ODESSA, ROTTERDAM, ["bosporus"])[0] == 0.0
    assert np.isinf(routes.distance_nm[0, 1])
    assert np.isinf(routes.distance_nm[1, 0])
    assert 0.0 < routes.distance_nm[0, 2] < 200.0
    assert not any(used[0, 1] for used in routes.through.values())


def test_places_at_one_point_of_the_lanes_are_apart():
    """Two quays of a port are not at distance 0."""
    quays = [(4.07, 51.99), (4.05, 51.97)]
    routes = sea_routes(quays)
    assert routes.distance_nm[0, 1] == pytest.approx(great_circle_nm(*quays), rel=1e-12)
    assert 0.5 < routes.distance_nm[0, 1] < 3.0


def test_nothing_is_shared_with_other_callers():
    """The package's closed passages do not reach us, ours do not reach it, in threads and after an error."""
    network = searoute.setup_M()
    kept = network.restrictions
    open_way = sea_routes([SHANGHAI, ROTTERDAM]).distance_nm[0, 1]
    sets = [(), ("suez",), ("suez", "panama"), ("bab_el_mandeb",)] * 4
    alone = {closed: sea_routes([SHANGHAI, ROTTERDAM], closed).distance_nm[0, 1] for closed in sets}
    try:
        network.restrictions = list(PASSAGES.values())
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda closed: sea_routes([SHANGHAI, ROTTERDAM], closed).distance_nm[0, 1], sets))
        assert found == [alone[closed] for closed in sets]
        with pytest.raises(DataError):
            sea_routes([SHANGHAI, (0.0, 91.0)], ["suez"])
        assert network.restrictions == list(PASSAGES.values())
        assert sea_routes([SHANGHAI, ROTTERDAM]).distance_nm[0, 1] == open_way
    finally:
        network.restrictions = kept


def test_tables_have_a_key_for_every_set():
    """Nothing closed is always there; order and repetition of names make no other set."""
    tables = closure_tables([SINGAPORE, ROTTERDAM], [("suez", "panama"), ("panama", "suez", "suez"), ("suez",)])
    assert list(tables) == [(), ("panama", "suez"), ("suez",)]
    assert tables["suez",].closed == ("suez",)
    lengths = [tables[closed].distance_nm[0, 1] for closed in ((), ("suez",), ("panama", "suez"))]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize(
    ("positions", "closed", "message"),
    [
        ([SHANGHAI, ROTTERDAM], ["sues"], "no passage 'sues' can be closed .*; did you mean 'suez'"),
        ([SHANGHAI, ROTTERDAM], "suez", "a list of names, received the text 'suez'"),
        ([SHANGHAI, (4.0, 95.0)], [], "place 1 is at longitude 4, latitude 95"),
        ([SHANGHAI, (np.nan, 5.0)], [], "place 1 is at longitude nan"),
        ([SHANGHAI, (51.99, -4.07), (60.0, 50.0)], [], "place 2 at longitude 60, latitude 50 is .* exchanged"),
        ([1.0, 2.0], [], r"pairs of longitude and latitude, \(P, 2\)"),
        ([], [], "pairs of longitude and latitude"),
    ],
)
def test_impossible_arguments_are_named(positions, closed, message):
    """The place or the passage, what is allowed and the nearest one."""
    with pytest.raises(DataError, match=message):
        sea_routes(positions, closed)


def test_ports_are_found_by_code():
    """A code that the package lists twice is the terminal."""
    name, country, position = listed_ports()["NLRTM"]
    assert (name, country) == ("Rotterdam", "Netherlands")
    assert great_circle_nm(position, ROTTERDAM) < 20.0


def test_a_missing_package_says_what_to_install():
    """Importing needs nothing; the first call does."""
    program = (
        "import sys; sys.modules['searoute'] = None; sys.modules['searoute.data'] = None\n"
        "from twin.geography import sea_routes\n"
        "try: sea_routes([(0.0, 50.0), (1.0, 51.0)])\n"
        "except ImportError as error: sys.stdout.write(str(error))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert "pip install 'cogtwin[routing]'" in done.stdout
