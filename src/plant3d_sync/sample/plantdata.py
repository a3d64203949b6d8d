"""The plant of the sample: a gold mine in Quebec, described in French and English as such plants are."""

from __future__ import annotations

from dataclasses import dataclass

PROJECT_NAME = "Mine Sainte-Aurore"
PROJECT_DESCRIPTION = "Usine de traitement d'or, 12 000 t/j / Gold processing plant, 12,000 tpd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """One process area: its number, its share of the items, its names and what flows through it."""

    code: str
    weight: int
    french: str
    english: str
    media: tuple[tuple[str, str], ...]
    services: tuple[str, ...]
    equipment: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EquipmentKind:
    """A type code of equipment with its class, names, rating and class-specific values."""

    code: str
    class_name: str
    french: str
    english: str
    ratings: tuple[str, ...]
    values: tuple[tuple[str, str], ...] = ()
    nozzles: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentKind:
    """An instrument by its function letters (ISA-5.1) with its class, names, range and set point."""

    code: str
    weight: int
    class_name: str
    french: str
    english: str
    range_text: str = ""
    set_point: str = ""
    on_pipe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ValveKind:
    """A hand valve by its code with its class and names."""

    code: str
    weight: int
    class_name: str
    french: str
    english: str
    fail: str = ""


AREAS: tuple[Area, ...] = (
    Area(
        code="100",
        weight=10,
        french="Concassage",
        english="Crushing",
        media=(("minerai brut", "run-of-mine ore"), ("eau de dépoussiérage", "dust suppression water")),
        services=("PW", "IA", "PA"),
        equipment=("CR", "CV", "SC", "BN", "MO", "DC"),
    ),
    Area(
        code="200",
        weight=22,
        french="Broyage",
        english="Grinding",
        media=(("pulpe de broyage", "mill slurry"), ("eau de procédé", "process water")),
        services=("SL", "PW", "GW"),
        equipment=("BM", "CY", "PP", "PB", "MO", "SC"),
    ),
    Area(
        code="300",
        weight=24,
        french="Lixiviation CIL",
        english="CIL leaching",
        media=(("pulpe cyanurée", "cyanided slurry"), ("charbon chargé", "loaded carbon")),
        services=("SL", "CN", "PW", "PA"),
        equipment=("TK", "AG", "PP", "SC", "MO", "TH"),
    ),
    Area(
        code="400",
        weight=14,
        french="Élution",
        english="Elution",
        media=(("solution d'élution", "eluate"), ("acide chlorhydrique dilué", "dilute hydrochloric acid")),
        services=("EL", "HA", "HW", "ST"),
        equipment=("VE", "HX", "PP", "TK", "MO", "FL"),
    ),
    Area(
        code="500",
        weight=10,
        french="Résidus",
        english="Tailings",
        media=(("résidus épaissis", "thickened tailings"), ("eau récupérée", "reclaim water")),
        services=("TL", "RW", "GW"),
        equipment=("TH", "PP", "PB", "MO", "TK"),
    ),
    Area(
        code="600",
        weight=11,
        french="Réactifs",
        english="Reagents",
        media=(("cyanure de sodium", "sodium cyanide"), ("lait de chaux", "milk of lime")),
        services=("CN", "LM", "NA", "PW"),
        equipment=("TK", "AG", "PD", "BN", "MO"),
    ),
    Area(
        code="700",
        weight=9,
        french="Eau",
        english="Water",
        media=(("eau fraîche", "fresh water"), ("eau d'étanchéité", "gland seal water")),
        services=("FW", "GW", "PW", "RW"),
        equipment=("TK", "PP", "FL", "MO", "BL"),
    ),
)

EQUIPMENT: dict[str, EquipmentKind] = {
    k.code: k
    for k in (
        EquipmentKind(
            code="PP",
            class_name="HorizontalCentrifugalPump",
            french="Pompe à pulpe",
            english="Slurry pump",
            ratings=("37 kW", "75 kW", "110 kW", "250 kW"),
            values=(("FlowCapacity", "420 m³/h"), ("TotalDynamicHead", "32 m"), ("Voltage", "600 V")),
            nozzles=2,
        ),
        EquipmentKind(
            code="PD",
            class_name="DiaphragmPump",
            french="Pompe doseuse",
            english="Metering pump",
            ratings=("0.75 kW", "1.5 kW"),
            values=(("FlowCapacity", "1.2 m³/h"),),
            nozzles=2,
        ),
        EquipmentKind(
            code="TK",
            class_name="OpenTopTank",
            french="Réservoir",
            english="Tank",
            ratings=("250 m³", "1 200 m³", "3 400 m³"),
            values=(("Diameter", "12500"), ("Height", "13200"), ("OperatingPressure", "0 kPa")),
            nozzles=2,
        ),
        EquipmentKind(
            code="VE",
            class_name="Vessel",
            french="Colonne d'élution",
            english="Elution column",
            ratings=("8 t", "12 t"),
            values=(("DesignPressure", "600 kPa"), ("DesignTemperature", "150 °C")),
            nozzles=2,
        ),
        EquipmentKind(
            code="HX",
            class_name="PlateAndFrameExchanger",
            french="Échangeur à plaques",
            english="Plate heat exchanger",
            ratings=("850 kW", "1 400 kW"),
            values=(("Duty", "1400 kW"), ("SurfaceArea", "62 m²")),
            nozzles=2,
        ),
        EquipmentKind(
            code="BM",
            class_name="BallMill",
            french="Broyeur à boulets",
            english="Ball mill",
            ratings=("6 500 kW", "8 000 kW"),
            values=(("Volume", "310 m³"),),
        ),
        EquipmentKind(
            code="CR",
            class_name="JawCrusher",
            french="Concasseur à mâchoires",
            english="Jaw crusher",
            ratings=("200 kW", "315 kW"),
            nozzles=0,
        ),
        EquipmentKind(
            code="CV",
            class_name="BeltConveyor",
            french="Convoyeur à courroie",
            english="Belt conveyor",
            ratings=("45 kW", "90 kW"),
            values=(("Length", "185 m"),),
            nozzles=0,
        ),
        EquipmentKind(
            code="SC",
            class_name="GeneralScreeningDevice",
            french="Crible vibrant",
            english="Vibrating screen",
            ratings=("22 kW", "30 kW"),
        ),
        EquipmentKind(
            code="CY",
            class_name="ACME_Hydrocyclone",
            french="Grappe d'hydrocyclones",
            english="Hydrocyclone cluster",
            ratings=("650 mm", "500 mm"),
        ),
        EquipmentKind(
            code="TH",
            class_name="ACME_Épaississeur",
            french="Épaississeur",
            english="Thickener",
            ratings=("Ø 24 m", "Ø 38 m"),
        ),
        EquipmentKind(
            code="AG",
            class_name="TurbineAgitator",
            french="Agitateur",
            english="Agitator",
            ratings=("55 kW", "90 kW"),
            values=(("Power", "90 kW"),),
            nozzles=0,
        ),
        EquipmentKind(
            code="MO",
            class_name="ElectricMotor",
            french="Moteur électrique",
            english="Electric motor",
            ratings=("37 kW", "75 kW", "150 kW"),
            values=(("Voltage", "600 V"), ("Phase", "3"), ("Frequency", "60 Hz"), ("Speed", "1785 rpm")),
            nozzles=0,
        ),
        EquipmentKind(
            code="PB",
            class_name="GeneralBasin",
            french="Boîte de pompe",
            english="Pump box",
            ratings=("25 m³", "60 m³"),
        ),
        EquipmentKind(
            code="BN",
            class_name="Silo",
            french="Silo",
            english="Bin",
            ratings=("150 t", "400 t"),
            nozzles=0,
        ),
        EquipmentKind(
            code="DC",
            class_name="GasAirFilter",
            french="Dépoussiéreur",
            english="Dust collector",
            ratings=("42 000 m³/h",),
        ),
        EquipmentKind(
            code="FL",
            class_name="LiquidFilter",
            french="Filtre",
            english="Filter",
            ratings=("120 m³/h", "300 m³/h"),
        ),
        EquipmentKind(
            code="BL",
            class_name="CentrifugalBlower",
            french="Soufflante",
            english="Blower",
            ratings=("75 kW", "132 kW"),
            values=(("FlowCapacity", "2 400 Nm³/h"),),
        ),
    )
}

_FIELD = "FieldMountedDiscreteInstrument"
_DCS = "PrimaryLocAccessibleDCS"
_PLC = "AuxiliaryLocAccessiblePLC"


def _kind(
    code: str,
    weight: int,
    class_name: str,
    names: tuple[str, str],
    ranges: tuple[str, str] = ("", ""),
    on_pipe: bool = False,
) -> InstrumentKind:
    return InstrumentKind(
        code=code,
        weight=weight,
        class_name=class_name,
        french=names[0],
        english=names[1],
        range_text=ranges[0],
        set_point=ranges[1],
        on_pipe=on_pipe,
    )


INSTRUMENTS: tuple[InstrumentKind, ...] = (
    _kind("FT", 10, _FIELD, ("Transmetteur de débit", "Flow transmitter"), ("0-450 m³/h", "")),
    _kind("FE", 7, "Magnetic", ("Débitmètre magnétique", "Magnetic flow meter"), ("0-450 m³/h", ""), True),
    _kind("FIC", 6, _DCS, ("Contrôleur de débit", "Flow controller"), ("0-450 m³/h", "320 m³/h")),
    _kind("PIT", 8, _FIELD, ("Transmetteur de pression", "Pressure transmitter"), ("0-1000 kPa", "")),
    _kind("PDIT", 4, _FIELD, ("Transmetteur de pression différentielle", "Differential pressure transmitter"),
          ("0-100 kPa", "")),
    _kind("LIT", 8, _FIELD, ("Transmetteur de niveau", "Level transmitter"), ("0-100 %", "")),
    _kind("LSHH", 5, _FIELD, ("Interrupteur de niveau très haut", "High-high level switch"), ("", "95 %")),
    _kind("LSL", 4, _FIELD, ("Interrupteur de niveau bas", "Low level switch"), ("", "15 %")),
    _kind("TE", 6, "SurfaceMountedTemperatureSensor", ("Sonde de température", "Temperature element"),
          ("0-150 °C", ""), True),
    _kind("TIT", 5, _FIELD, ("Transmetteur de température", "Temperature transmitter"), ("0-150 °C", "")),
    _kind("AE", 3, _FIELD, ("Sonde de pH", "pH element"), ("0-14 pH", "10.5 pH")),
    _kind("AIT", 4, _PLC, ("Analyseur de cyanure libre", "Free cyanide analyser"), ("0-500 ppm", "180 ppm")),
    _kind("WIT", 3, _PLC, ("Balance de convoyeur", "Belt scale transmitter"), ("0-800 t/h", "")),
    _kind("ZSO", 6, _FIELD, ("Fin de course ouvert", "Open position switch")),
    _kind("ZSC", 6, _FIELD, ("Fin de course fermé", "Closed position switch")),
    _kind("VT", 3, _FIELD, ("Transmetteur de vibration", "Vibration transmitter"), ("0-25 mm/s", "12 mm/s")),
    _kind("FV", 5, "ControlValve", ("Vanne de régulation de débit", "Flow control valve"), on_pipe=True),
    _kind("LV", 3, "ControlValve", ("Vanne de régulation de niveau", "Level control valve"), on_pipe=True),
    _kind("PSV", 3, "PressureReliefValve", ("Soupape de sûreté", "Pressure safety valve"),
          ("", "850 kPa"), True),
    _kind("PSE", 1, "RuptureDisc", ("Disque de rupture", "Rupture disk"), ("", "900 kPa"), True),
)  # fmt: skip

VALVES: tuple[ValveKind, ...] = (
    ValveKind(
        code="KG", weight=26, class_name="KnifeValve", french="Vanne à guillotine", english="Knife valve"
    ),
    ValveKind(code="BV", weight=24, class_name="BallValve", french="Robinet à bille", english="Ball valve"),
    ValveKind(
        code="BF", weight=16, class_name="ButterflyValve", french="Vanne papillon", english="Butterfly valve"
    ),
    ValveKind(code="GV", weight=12, class_name="GateValve", french="Robinet-vanne", english="Gate valve"),
    ValveKind(
        code="CK", weight=12, class_name="CheckValve", french="Clapet de retenue", english="Check valve"
    ),
    ValveKind(
        code="DV", weight=6, class_name="DiaphragmValve", french="Vanne à membrane", english="Diaphragm valve"
    ),
    ValveKind(
        code="PV",
        weight=4,
        class_name="PinchValve",
        french="Vanne à manchon",
        english="Pinch valve",
        fail="FC",
    ),
)

SIZES = ("25", "40", "50", "80", "100", "150", "200", "250", "300", "400")
SPECS = ("CS150", "SS150", "HDPE", "RL150", "CS300", "PVC80")
MANUFACTURERS = (
    "Métallurgie Boréale",
    "Nordik Pumps",
    "Val-d'Or Valves",
    "Instruments Laurentides",
    "Ungava",
)
FILL_NOTES = ("duty / en service", "standby / réserve", "local", "télécommandé", "winterised / hivernisé")

PICKLISTS: dict[str, tuple[str, ...]] = {
    "Pipe_Sizes_Metric": ("15", "20", *SIZES, "450", "500", "600"),
    "Pipe_Specs": SPECS,
    "Services": ("SL", "PW", "GW", "CN", "PA", "IA", "EL", "HA", "HW", "ST", "TL", "RW", "LM", "NA", "FW"),
    "Instrument_Types": tuple(k.code for k in INSTRUMENTS),
    "Equipment_Types": tuple(EQUIPMENT),
    "Insulation_Types": ("H", "C", "P", "A", "ET"),
    "Tracing_Types": ("ET", "ST", "GT"),
    "EndConnections": ("Flanged", "Socket Welded", "Unspecified", "Welded"),
    "Status": ("New", "Existing", "Demolition"),
    "SSPL$HandValves_Normally": ("NO", "NC", "LO", "LC", "CSO", "CSC"),
    "SSPL$ControlValve_Normally": ("NO", "NC", "LO", "LC", "CSO", "CSC"),
}
