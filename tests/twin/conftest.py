"""What the tests of the delivery history share: one made here line by line, and the real one."""

import csv
import io
from pathlib import Path

import pytest

from twin.shipments import read_shipments

RAW = Path(__file__).resolve().parents[3] / "shared" / "data" / "scms" / "SCMS_Delivery_History_Dataset.csv"

CLEAN = {
    "ID": "1",
    "PO / SO #": "SCMS-10",
    "ASN/DN #": "ASN-1",
    "Country": "Côte d'Ivoire",
    "Fulfill Via": "Direct Drop",
    "Shipment Mode": "Air",
    "PQ First Sent to Client Date": "1/5/10",
    "PO Sent to Vendor Date": "2/1/10",
    "Scheduled Delivery Date": "1-Mar-10",
    "Delivered to Client Date": "3-Mar-10",
    "Product Group": "ARV",
    "Vendor": "CIPLA LIMITED",
    "Item Description": "Nevirapine 200mg, tablets, 60 Tabs",
    "Manufacturing Site": "Cipla, Goa, India",
    "Line Item Quantity": "1000",
    "Line Item Value": "3000",
    "Pack Price": "3",
    "Weight (Kilograms)": "100",
    "Freight Cost (USD)": "500",
}


def table(*changes, line_end="\n", bom=""):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(CLEAN), lineterminator=line_end)
    writer.writeheader()
    for number, change in enumerate(changes, start=1):
        writer.writerow({**CLEAN, "ID": str(number), "ASN/DN #": f"ASN-{number}", **change})
    return (bom + out.getvalue()).encode("utf-8")


@pytest.fixture
def read(tmp_path):
    def _read(*changes, **layout):
        path = tmp_path / "history.csv"
        path.write_bytes(table(*changes, **layout))
        return read_shipments(path)

    return _read


@pytest.fixture(scope="session")
def real():
    if not RAW.is_file():
        pytest.skip(f"the raw delivery history is not present at {RAW}")
    return read_shipments(RAW)
