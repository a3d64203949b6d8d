"""Builds the plant of the sample: settings, then drawing after drawing, then a legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from plant3d_sync.sample import plantdata
from plant3d_sync.sample.plantdata import AREAS, EQUIPMENT, INSTRUMENTS, VALVES, Area
from plant3d_sync.sample.schema import ENLISTED
from plant3d_sync.sample.writer import Value, Writer

_SHARES = {"equipment": 12, "instruments": 38, "valves": 35, "lines": 15}
_ITEMS_PER_DRAWING = 250
_DESCRIBED = 0.60  # share of items whose description is not the class default
_CUSTOMER_DESCRIBED = 0.35


@dataclass(slots=True)
class PlantItem:
    """An item as the generator remembers it while it builds relations and plants hazards."""

    pnpid: int
    class_name: str
    tag: str
    entity: str


@dataclass(slots=True)
class Line(PlantItem):
    """A line group with its segments."""

    size: str = ""
    spec: str = ""
    segments: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenEnd:
    """A line that leaves a drawing: what the next drawing needs to go on with it."""

    line: Line
    connector: int


class Plant:
    """The gold mine: drawing after drawing, each in a session of its own."""

    def __init__(self, writer: Writer, items: int) -> None:
        self.writer = writer
        self.rng = writer.rng
        self.items: list[PlantItem] = []
        self.lines: list[Line] = []
        self.drawings: list[tuple[int, str]] = []
        self._counts = _split(items)
        self._numbers: Counter[str] = Counter()
        self._handle = 0x2A0
        self._drawing = 0
        self._open_end: _OpenEnd | None = None

    def build(self) -> None:
        """Write the whole plant: settings first, then every drawing, then the empty legend."""
        self._settings()
        areas = _drawing_areas(sum(self._counts.values()))
        if self.writer.style == "2025":
            self._drawing_row("PID", "FOLDER", "", AREAS[0])
        for index, area in enumerate(areas):
            counts = {
                e: n * (index + 1) // len(areas) - n * index // len(areas) for e, n in self._counts.items()
            }
            self._draw(area, counts, last_of_area=index + 1 == len(areas) or areas[index + 1] is not area)
        self.writer.begin_session()
        legend = self._drawing_row("Symbols", "DWG", "Légende et symboles / Legend and symbols", AREAS[0])
        self.drawings.append((legend, "P-000-001"))
        self.writer.flush()

    # -- settings ---------------------------------------------------------------------------------

    def _settings(self) -> None:
        add = self.writer.add
        add(
            "PnPProject",
            {
                "Project_Name": plantdata.PROJECT_NAME,
                "Project_Description": plantdata.PROJECT_DESCRIPTION,
                "Project_Number": "SA-2025",
                "Version": "92" if self.writer.style == "2025" else None,
                "Project_Standard": "PIP",
                "Project_Data_City": "Val-d'Or",
                "Project_Data_State": "Québec",
            },
        )
        if self.writer.style == "2025":
            add("PnPProjectVariables", {"Name": "VersionMajor", "Value": "92"})
            add("PnPProjectVariables", {"Name": "VersionMinor", "Value": "1"})
        add("PnPProjectCategories", {"CategoryName": "General", "DisplayName": "General"})
        add("PnPProjectCategories", {"CategoryName": "Project_Data", "DisplayName": "Project Data"})
        add("PnPDrawingCategories", {"CategoryName": "General", "DisplayName": "General"})
        add("PnPGlobalPainterStyle", {"CurrentStyle": "Default"})
        add("PnPTagRegistries", {"Name": "PnPTagRegistry"})
        for table in ENLISTED:
            add(
                "PnPTagEnlistedColumns",
                {"TagRegistyName": "PnPTagRegistry", "TableName": table, "ColumnName": "Tag"},
            )
        for name, values in plantdata.PICKLISTS.items():
            kind = "SymbolSelect" if name.startswith("SSPL$") else "Regular"
            picklist = add(
                "PnPPicklists",
                {"PicklistName": name, "DisplayName": name, "PicklistType": kind, "IsReadOnly": 0},
            )
            for value in values:
                add(
                    "PnPPicklistValues",
                    {"PicklistValue": value, "PicklistId": picklist, "PicklistValueDescription": value},
                )

    def _drawing_row(self, name: str, kind: str, title: str, area: Area) -> int:
        guid = self.writer.guid().hex()
        braces = f"{{{guid[:8]}-{guid[8:12]}-{guid[12:16]}-{guid[16:20]}-{guid[20:]}}}"
        is_file = kind == "DWG"
        relative = f"PID DWG\\{name}.dwg" if is_file else None
        return self.writer.add(
            "PnPDrawings",
            {
                "PnPDrawingGuid": braces.upper() if self.writer.style == "2025" else braces,
                "PnPType": kind,
                "PnPTimestampGuid": self.writer.guid(),
                "PnID": (name if name.startswith("P-") else "P-000-001") if is_file else None,
                "Dwg Name": f"{name}.dwg" if is_file else name,
                "Title": title or None,
                "Path": f"C:\\Projets\\SainteAurore\\{relative}" if is_file else None,
                "PnPRelativePath": relative,
                "PnPPromptForTemplate": 0,
                "PnPDwgOutOfSync": 0,
                "Revision": self.rng.choice(("A", "B", "0", "1")) if is_file else None,
                "Area": area.code if is_file else None,
                "Author": self.rng.choice(("mtremblay", "jsmith", "écôté")) if is_file else None,
                "Description": f"{area.french} / {area.english}" if is_file else None,
            },
            revision=self.rng.randrange(2, 40) if is_file else 0,
        )

    # -- one drawing ------------------------------------------------------------------------------

    def _draw(self, area: Area, counts: Mapping[str, int], *, last_of_area: bool) -> None:
        self.writer.begin_session()
        started = self.writer.ticks
        self._numbers[f"drawing {area.code}"] += 1
        number = self._numbers[f"drawing {area.code}"]
        name = f"P-{area.code}-{number:03d}"
        title = f"{area.french} / {area.english}, {number}"
        self._drawing = self._drawing_row(name, "DWG", title, area)
        self.drawings.append((self._drawing, name))
        self._handle = 0x2A0
        equipment = [self._equipment(area) for _ in range(counts["equipment"])]
        ends = [end for item in equipment for end in self._nozzles(item)] or [(e, 0) for e in equipment]
        lines = [self._line(area, ends) for _ in range(counts["lines"])]
        valves = [self._valve(area, lines) for _ in range(counts["valves"])]
        instruments = [self._instrument(area, lines) for _ in range(counts["instruments"])]
        self._reducers(lines, len(lines) // 5)
        self._signals(instruments, valves)
        self._connect_drawings(lines, area, last_of_area=last_of_area)
        self.items += [*equipment, *lines, *valves, *instruments]
        self.lines += lines
        self.writer.add(
            "PnPWorkHistory",
            {
                "DwgGuid": name,
                "HistoryGuid": self.writer.guid().hex(),
                "Author": self.rng.choice(("mtremblay", "jsmith", "écôté")),
                "Startdate": str(started),
                "Enddate": str(self.writer.tick(seconds=2)),
                "Status": "Complete",
                "Notes": None,
            },
        )
        self.writer.flush()

    def _place(
        self, class_name: str, values: Mapping[str, Value], *, revision: int = 0, annotate: float = 0.0
    ) -> int:
        """An item with its drawing link and perhaps an annotation."""
        pnpid = self.writer.add(class_name, values, revision=revision)
        self._link(pnpid, class_name)
        if annotate and self.rng.random() < annotate:
            annotation = self.writer.add("Annotation", {"Comment": None})
            self._link(annotation, "Annotation")
            self.writer.relate("AnnotationRelationship", pnpid, annotation)
        return pnpid

    def _link(self, pnpid: int, class_name: str) -> None:
        self._handle += 3
        self.writer.add(
            "PnPDataLinks",
            {
                "RowId": pnpid,
                "DwgId": self._drawing,
                "DwgHandleLow": self._handle,
                "DwgHandleHigh": 0,
                "DwgSubIndex": 0,
                "RowClassName": class_name,
            },
        )

    def _register(self, tag: str, pnpid: int) -> None:
        self.writer.add("PnPTagRegistry", {"Tag": tag, "RowId": pnpid})

    def _number(self, key: str) -> int:
        self._numbers[key] += 1
        return self._numbers[key]

    def _revision(self) -> int:
        return self.rng.choice((0, 0, 0, 0, 1, 1, 2, 3))

    def _texts(self, french: str, english: str, area: Area) -> dict[str, Value]:
        """Description (left at the class default for some), customer description, manufacturer, notes."""
        draw = self.rng.random
        values: dict[str, Value] = {}
        medium = self.rng.choice(area.media)
        if draw() < _DESCRIBED:
            use_french = draw() < 0.6
            values["Description"] = f"{french}, {medium[0]}" if use_french else f"{english}, {medium[1]}"
        if draw() < _CUSTOMER_DESCRIBED:
            values["ACME_Description"] = f"{english} - {medium[1]} ({area.english})"
        if draw() < 0.4:
            values["Manufacturer"] = self.rng.choice(plantdata.MANUFACTURERS)
            values["ModelNumber"] = f"{english[:2].upper()}-{self.rng.randrange(100, 999)}"
        if draw() < 0.15:
            values["Comment"] = self.rng.choice(plantdata.FILL_NOTES)
        return values

    def _equipment(self, area: Area) -> PlantItem:
        kind = EQUIPMENT[self.rng.choice(area.equipment)]
        number = f"{self._number(f'{area.code}-{kind.code}'):03d}"
        tag = f"{area.code}-{kind.code}-{number}"
        pnpid = self._place(
            kind.class_name,
            {
                **self._texts(kind.french, kind.english, area),
                **dict(kind.values),
                "Tag": tag,
                "Area": area.code,
                "Type": kind.code,
                "Number": number,
                "EquipmentSpec": f"SA-{area.code}-{kind.code}-FT" if self.rng.random() < 0.5 else None,
                "ACME_Rating": self.rng.choice(kind.ratings) if self.rng.random() < 0.7 else None,
                "ACME N° série": f"{self.rng.randrange(10_000, 99_999)}" if self.rng.random() < 0.2 else None,
            },
            revision=self._revision(),
            annotate=0.3,
        )
        self._register(tag, pnpid)
        return PlantItem(pnpid, kind.class_name, tag, "equipment")

    def _nozzles(self, owner: PlantItem) -> list[tuple[PlantItem, int]]:
        """Nozzles of an equipment. Their tags are unique per owner: registered as tag + `_` + owner id."""
        code = owner.tag.split("-")[1]
        made: list[tuple[PlantItem, int]] = []
        for number in range(1, EQUIPMENT[code].nozzles + 1):
            size = self.rng.choice(plantdata.SIZES)
            pnpid = self._place(
                "FlangedNozzle", {"Tag": f"N-{number}", "Number": str(number), "Size": size, "Spec": "CS150"}
            )
            self.writer.relate("AssetOwnership", owner.pnpid, pnpid)
            self._register(f"N-{number}_{owner.pnpid}", pnpid)
            made.append((owner, pnpid))
        return made

    # -- lines ------------------------------------------------------------------------------------

    def _line(self, area: Area, ends: list[tuple[PlantItem, int]]) -> Line:
        rng = self.rng
        size, spec, service = (
            rng.choice(plantdata.SIZES),
            rng.choice(plantdata.SPECS),
            rng.choice(area.services),
        )
        number = f"{area.code}{self._number(f'line {area.code}'):02d}"
        tag = f"{size}-{spec}-{service}-{number}"
        medium = rng.choice(area.media)
        values: dict[str, Value] = {
            "Tag": tag,
            "LineNumber": number,
            "Service": service,
            "NominalSize": size,
            "NominalSpec": spec,
        }
        if rng.random() < _DESCRIBED:
            values["Description"] = f"Conduite de {medium[0]}" if rng.random() < 0.6 else f"{medium[1]} line"
        if rng.random() < 0.25:
            values["ACME_Désignation"] = f"{area.french} - {medium[0]}"
        group = self.writer.add("PipeLineGroup", values, revision=self._revision())
        self._register(tag, group)
        line = Line(group, "PipeLineGroup", tag, "lines", size=size, spec=spec)
        start = rng.choice(ends) if ends and rng.random() < 0.75 else None
        end = rng.choice(ends) if ends and rng.random() < 0.75 else None
        count = 1 if rng.random() < 0.6 else 2
        for part in range(count):
            first = start[0].tag if start and part == 0 else None
            last = end[0].tag if end and part == count - 1 else None
            self._segment(line, first=first, last=last)
        self._attach(line.segments[0], "LineStartAsset", start)
        self._attach(line.segments[-1], "LineEndAsset", end)
        if count == 2:
            self._join_segments(line)
        return line

    def _segment(self, line: Line, *, first: str | None = None, last: str | None = None) -> int:
        rng = self.rng
        pnpid = self._place(
            "Primary" if rng.random() < 0.8 else "Secondary",
            {
                "Tag": line.tag,
                "Size": line.size,
                "Spec": line.spec,
                "From": first,
                "To": last,
                "OperatingPressure": f"{rng.randrange(100, 900, 50)} kPa" if rng.random() < 0.5 else None,
                "OperatingTemperature": f"{rng.randrange(5, 95, 5)} °C" if rng.random() < 0.5 else None,
                "DesignPressure": "1000 kPa" if rng.random() < 0.5 else None,
                "InsulationType": rng.choice(("H", "P")) if rng.random() < 0.2 else None,
                "Tracing": "ET" if rng.random() < 0.1 else None,
                "AcquisitionProperties": "#Status",
            },
            revision=self._revision(),
            annotate=0.2,
        )
        line.segments.append(pnpid)
        self.writer.relate("PipeLineGroupRelationship", line.pnpid, pnpid)
        if rng.random() < 0.25:
            arrow = self._place("FlowArrow", {})
            self.writer.relate("LineFlowArrow", pnpid, arrow)
        return pnpid

    def _attach(self, segment: int, relation: str, end: tuple[PlantItem, int] | None) -> None:
        if end is None:
            return
        owner, nozzle = end
        self.writer.relate(relation, segment, nozzle or owner.pnpid)
        if nozzle:
            self.writer.relate("LineNozzle", segment, nozzle)

    def _join_segments(self, line: Line) -> None:
        first, second = line.segments
        self.writer.relate("LineEndLine", first, second, 1.0)
        self.writer.relate("LineStartLine", second, first, 0.0)
        self.writer.relate("LineLineRelationship", first, second)

    def _valve(self, area: Area, lines: list[Line]) -> PlantItem:
        kind = self.rng.choices(VALVES, weights=_VALVE_WEIGHTS)[0]
        number = f"{area.code}{self._number(f'{area.code}-{kind.code}'):02d}"
        tag = f"{kind.code}-{number}"
        line = self.rng.choice(lines) if lines and self.rng.random() < 0.8 else None
        known = line is not None
        pnpid = self._place(
            kind.class_name,
            {
                **self._texts(kind.french, kind.english, area),
                "Tag": tag,
                "Code": kind.code,
                "Number": number,
                "ValveCode": f"{kind.code}-{self.rng.randrange(10, 60)}",
                "Failure": kind.fail or None,
                "Normally": "NC" if self.rng.random() < 0.2 else "NO",
                "EndConnections": "Flanged" if self.rng.random() < 0.6 else "Unspecified",
                "Size": line.size if line else self.rng.choice((None, "", "50")),
                "Spec": line.spec if line else None,
                "AcquisitionProperties": "#Status,Size,Spec" if known else "#Status,#Size,#Spec",
                "ACME_Rating": self.rng.choice(("Class 150", "Class 300"))
                if self.rng.random() < 0.5
                else None,
                "ACME Matière": self.rng.choice(("Fonte", "Inox 316", "PVC"))
                if self.rng.random() < 0.3
                else None,
            },
            revision=self._revision(),
            annotate=0.2,
        )
        self._register(tag, pnpid)
        if line is not None:
            # The drafter's habit decides which of the three relations fills.
            relation = self.rng.choice(
                ("LineInlineAsset", "LineInlineAsset", "LineStartAsset", "LineEndAsset")
            )
            self.writer.relate(relation, self.rng.choice(line.segments), pnpid)
        return PlantItem(pnpid, kind.class_name, tag, "valves")

    def _instrument(self, area: Area, lines: list[Line]) -> PlantItem:
        kind = self.rng.choices(INSTRUMENTS, weights=_INSTRUMENT_WEIGHTS)[0]
        number = f"{self._number(f'{area.code}-{kind.code}'):03d}"
        tag = f"{area.code}-{kind.code}-{number}"
        line = self.rng.choice(lines) if kind.on_pipe and lines else None
        values: dict[str, Value] = {
            **self._texts(kind.french, kind.english, area),
            "Tag": tag,
            "Area": area.code,
            "Type": kind.code,
            "LoopNumber": f"{kind.code[0]}-{number}" if self.rng.random() < 0.4 else None,
            "Location": self.rng.choice(("Field", "MCC", "Control Room"))
            if self.rng.random() < 0.4
            else None,
            "ACME_Range": kind.range_text or None if self.rng.random() < 0.7 else None,
            "ACME_SetPoint": kind.set_point or None if self.rng.random() < 0.7 else None,
        }
        if kind.on_pipe:
            values["Size"] = line.size if line else None
        if kind.class_name == "ControlValve":
            values |= {
                "BodyType": "Globe",
                "ActuatorType": "Diaphragm",
                "Failure": "FC",
                "ValveCode": "GL-11",
            }
        if kind.class_name in ("PressureReliefValve", "RuptureDisc"):
            values |= {
                "SetPoint": kind.set_point,
                "SetPointType": "Gauge",
                "Size2": line.size if line else None,
            }
        pnpid = self._place(kind.class_name, values, revision=self._revision(), annotate=0.15)
        self._register(tag, pnpid)
        if line is not None:
            self.writer.relate("LineInlineAsset", self.rng.choice(line.segments), pnpid)
        return PlantItem(pnpid, kind.class_name, tag, "instruments")

    def _reducers(self, lines: list[Line], count: int) -> None:
        for line in self.rng.sample(lines, count):
            reducer = self._place("ConcentricReducer", {"Size": line.size, "Size2": "50", "Spec": line.spec})
            self.writer.relate("LineInlineAsset", self.rng.choice(line.segments), reducer)

    def _signals(self, instruments: list[PlantItem], valves: list[PlantItem]) -> None:
        """Signal lines between bubbles, or from a bubble to a valve. Their tags stay `?` everywhere."""
        for sender, receiver in zip(instruments[::5], [*instruments[1::5], *valves[:1]], strict=False):
            name = self.rng.choice(("Electrical", "Software", "Pneumatic"))
            values: dict[str, Value] = {"Tag": "?", "From": sender.tag, "To": receiver.tag}
            signal = self._place(name, values)
            self.writer.relate("LineStartAsset", signal, sender.pnpid)
            self.writer.relate("LineEndAsset", signal, receiver.pnpid)
            group = self.writer.add("SignalLineGroup", {})
            self.writer.relate("SignalLineGroupRelationship", group, signal)

    def _connect_drawings(self, lines: list[Line], area: Area, *, last_of_area: bool) -> None:
        """Off-page connectors: a line goes on in the next drawing of its area, in one line group."""
        if self._open_end is not None:
            came = self._open_end
            segment = self._segment(came.line)
            connector = self._connector(came.line, segment, area)
            self.writer.relate("ConnectorsRelationship", came.connector, connector)
            self._open_end = None
        if lines and not last_of_area:
            line = lines[-1]
            self._open_end = _OpenEnd(line=line, connector=self._connector(line, line.segments[-1], area))

    def _connector(self, line: Line, segment: int, area: Area) -> int:
        number = str(self._number("connector"))
        values: dict[str, Value] = {"ConnectorNumber": number, "OriginOrDestination": area.english}
        connector = self._place("OffPageConnector", values)
        self.writer.relate("LineOffPageConnector", segment, connector)
        return connector


_VALVE_WEIGHTS = [k.weight for k in VALVES]
_INSTRUMENT_WEIGHTS = [k.weight for k in INSTRUMENTS]


def _split(items: int) -> dict[str, int]:
    """`items` by entity, exact: instruments take what rounding leaves."""
    counts = {entity: items * share // 100 for entity, share in _SHARES.items()}
    counts["instruments"] += items - sum(counts.values())
    return counts


def _drawing_areas(items: int) -> list[Area]:
    """One area per drawing, drawings of an area together, about 250 items each, every area once."""
    total = sum(a.weight for a in AREAS)
    wanted = items / _ITEMS_PER_DRAWING
    return [a for a in AREAS for _ in range(max(1, round(wanted * a.weight / total)))]
