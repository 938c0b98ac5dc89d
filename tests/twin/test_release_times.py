"""When a distribution centre released its goods, estimated from the documents around."""

import numpy as np

from twin.release_times import estimate_errors, release_times


def test_release_dates_come_from_the_notes_around(read):
    stock = {"Fulfill Via": "From RDC", "PO Sent to Vendor Date": "N/A - From RDC"}
    result = read(
        stock | {"ASN/DN #": "DN-1", "PQ First Sent to Client Date": "1/1/10", "Delivered to Client Date": "1-Mar-10"},
        stock | {"ASN/DN #": "DN-2", "PQ First Sent to Client Date": "Pre-PQ Process"},
        stock | {"ASN/DN #": "DN-3", "PQ First Sent to Client Date": "1/9/10", "Delivered to Client Date": "19-Jan-10"},
        stock | {"ASN/DN #": "DN-4", "PQ First Sent to Client Date": "6/1/10", "Delivered to Client Date": "1-Mar-10"},
        {"ASN/DN #": "DN-5"},
    )
    found, selection = release_times(result.lines)
    # Notes 1 to 3 were issued before note 3 arrived on 19 January and after the quotes of 1 and 9 January.
    assert {entry.line.note: entry.days for entry in found} == {
        "DN-1": 50.0,
        "DN-2": 52.0,
        "DN-3": 5.0,
    }
    assert selection.refused == {"dates around the document contradict its number": 1}


def test_release_date_estimate_holds_where_the_true_date_is_known(real):
    error = estimate_errors(real.lines)
    # Within three weeks for three orders in four; the lead times it serves are one to two months.
    assert len(error) > 1_900
    assert abs(np.median(error)) < 10
    assert np.mean(np.abs(error) <= 21) > 0.75
