from __future__ import annotations

import pytest

from plant3d_sync.mapping.isa import full_name, function_letters, parse_function

NAMES = {
    "FT": "Flow Transmitter",
    "FE": "Flow Element",
    "FI": "Flow Indicator",
    "FO": "Flow Orifice",
    "FV": "Flow Valve",
    "FY": "Flow Relay",
    "FIC": "Flow Indicating Controller",
    "FIT": "Flow Indicating Transmitter",
    "FRC": "Flow Recording Controller",
    "FCV": "Flow Control Valve",
    "FQ": "Flow Totalizer",
    "FQI": "Flow Totalizing Indicator",
    "FQIT": "Flow Totalizing Indicating Transmitter",
    "FFIC": "Flow Ratio Indicating Controller",
    "FSL": "Flow Switch Low",
    "FSLL": "Flow Switch Low Low",
    "PT": "Pressure Transmitter",
    "PI": "Pressure Indicator",
    "PG": "Pressure Gauge",
    "PIC": "Pressure Indicating Controller",
    "PIT": "Pressure Indicating Transmitter",
    "PCV": "Pressure Control Valve",
    "PSV": "Pressure Safety Valve",
    "PSE": "Pressure Safety Element",
    "PSH": "Pressure Switch High",
    "PSHH": "Pressure Switch High High",
    "PDT": "Pressure Differential Transmitter",
    "PDI": "Pressure Differential Indicator",
    "PDIT": "Pressure Differential Indicating Transmitter",
    "PDSH": "Pressure Differential Switch High",
    "PDAHH": "Pressure Differential Alarm High High",
    "PDCV": "Pressure Differential Control Valve",
    "TDT": "Temperature Differential Transmitter",
    "TE": "Temperature Element",
    "TW": "Temperature Well",
    "TT": "Temperature Transmitter",
    "TIC": "Temperature Indicating Controller",
    "TSHH": "Temperature Switch High High",
    "TAH": "Temperature Alarm High",
    "TAD": "Temperature Alarm Deviation",
    "LT": "Level Transmitter",
    "LG": "Level Gauge",
    "LS": "Level Switch",
    "LSH": "Level Switch High",
    "LSHH": "Level Switch High High",
    "LSLL": "Level Switch Low Low",
    "LSHL": "Level Switch High Low",
    "LAHH": "Level Alarm High High",
    "LIAHH": "Level Indicating Alarm High High",
    "LIC": "Level Indicating Controller",
    "LCV": "Level Control Valve",
    "AE": "Analysis Element",
    "AIT": "Analysis Indicating Transmitter",
    "BE": "Burner Element",
    "PZIT": "Pressure Safety Instrumented Indicating Transmitter",
    "LZT": "Level Safety Instrumented Transmitter",
    "TZAHH": "Temperature Safety Instrumented Alarm High High",
    "DT": "Density Transmitter",
    "DIT": "Density Indicating Transmitter",
    "EI": "Voltage Indicator",
    "HS": "Hand Switch",
    "HV": "Hand Valve",
    "HIC": "Hand Indicating Controller",
    "IT": "Current Transmitter",
    "JI": "Power Indicator",
    "KI": "Time Indicator",
    "ST": "Speed Transmitter",
    "SIC": "Speed Indicating Controller",
    "SSL": "Speed Switch Low",
    "UA": "Multivariable Alarm",
    "VT": "Vibration Transmitter",
    "VXT": "Vibration X-Axis Transmitter",
    "VSHH": "Vibration Switch High High",
    "WE": "Weight Element",
    "WIT": "Weight Indicating Transmitter",
    "WQI": "Weight Totalizing Indicator",
    "XV": "Unclassified Valve",
    "XY": "Unclassified Relay",
    "YI": "Event Indicator",
    "YL": "Event Light",
    "ZT": "Position Transmitter",
    "ZSO": "Position Switch Open",
    "ZSC": "Position Switch Closed",
    "ZLO": "Position Light Open",
    "ZLC": "Position Light Closed",
}

TAGS = {
    "FT-1001": "FT",
    "300-FT-001": "FT",
    "FT-300-001": "FT",
    "10-PDIT-101A": "PDIT",
    "FIC1001": "FIC",
    "FIC 1001": "FIC",
    "210FT001": "FT",
    "210-FT001B": "FT",
    "A1-FT-001": "FT",
    "CIL-FT-001": "FT",
    "300.LSHH.012": "LSHH",
    "300/ZSO/012": "ZSO",
    "300_zsc_012": "ZSC",
    "TK-101-LT-002": "LT",
    "PU-12-PSHH-3": "PSHH",
    "FT-1001AI": "FT",
    "101-FT": "FT",
    "?-FT-?": "FT",
    "XV-2001": "XV",
    " PSV-1 ": "PSV",
    "FCV-1": "FCV",
    "HS-12": "HS",
}

NO_CODE = [
    "A", "Q-1", "PUMP-1", "MOV-101", "SDV-1", "BDV-1", "ESD-1", "ROV-1", "CIL", "1001", "", "  ", "?", "NA", "na",
    "HOLD", "N/A", "XX-1", "FTX-1", "FF-1", "TTT-1", "PDD-1", "ÉFT-001", "ＦＴ-001", "FCT-1", "FTV-1", "LSX-1",
    "MF300±KSA3001", "=A1+B2-FT3", "FT§1", "10LAB20CP001", "LAB20 CT001", "10 LAB 20 CF 001 A", "ZSOO-1", "TSHHHH-1", "TAHX-1", "ABCDEFGH-1",
]  # fmt: skip


@pytest.mark.parametrize(("letters", "name"), NAMES.items())
def test_a_code_of_isa_5_1_has_this_full_name(letters: str, name: str) -> None:
    assert full_name(letters) == name


@pytest.mark.parametrize(("tag", "letters"), TAGS.items())
def test_the_function_letters_are_found_in_a_tag(tag: str, letters: str) -> None:
    assert function_letters(tag) == letters


@pytest.mark.parametrize("tag", NO_CODE)
def test_what_is_no_code_of_isa_5_1_gives_none(tag: str) -> None:
    assert function_letters(tag) is None


@pytest.mark.parametrize("value", [None, 5, True, 1.5])
def test_what_is_no_text_gives_none(value: object) -> None:
    assert function_letters(value) is None


@pytest.mark.parametrize("letters", ["NT", "OI", "NSHH"])
def test_letters_that_every_plant_chooses_for_itself_have_no_name(letters: str) -> None:
    assert function_letters(f"{letters}-101") == letters
    assert (full_name(letters), full_name(letters, "fr")) == ("Unknown", "Unknown")


@pytest.mark.parametrize("letters", [None, "", "A", "MOV", "hello", "Unknown"])
def test_the_name_of_what_is_no_code_is_unknown(letters: str | None) -> None:
    assert full_name(letters) == "Unknown"


def test_s_is_safety_before_a_valve_or_element_and_a_switch_otherwise() -> None:
    assert [getattr(parse_function(code), "modifier", None) for code in ("PSV", "PSE", "PSH", "PS")] == [
        "S",
        "S",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("letters", "name"),
    [
        ("PDIT", "Transmetteur indicateur de pression différentielle"),
        ("LSHH", "Contacteur de niveau très haut"),
        ("ZSO", "Contacteur de position ouvert"),
        ("PSV", "Vanne de sécurité de pression"),
        ("FQI", "Indicateur de débit totalisateur"),
        ("FIC", "Régulateur indicateur de débit"),
        ("HS", "Contacteur à main"),
        ("nonsense", "Unknown"),
    ],
)
def test_the_full_name_exists_in_french_too(letters: str, name: str) -> None:
    assert full_name(letters, "fr") == name
