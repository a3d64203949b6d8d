"""What the web service says of a configuration file that changes under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.support.webapp import MINE, OTHER, Desk, desk


def told(service: Desk, project: str = MINE) -> dict[str, Any]:
    found: dict[str, Any] = service.get("/api/v1/sync/status", "read", project_id=project).json()
    return found


def shown(service: Desk) -> dict[str, str]:
    listed = service.get("/api/v1/projects", "read").json()["items"]
    alone = service.get(f"/api/v1/projects/{MINE}", "read").json()
    found = {one["project_id"]: one["write"] for one in listed}
    assert found[MINE] == alone["write"]
    return found


def test_a_configuration_file_that_cannot_be_read_any_more_is_told_where_it_stops_writing(
    tmp_path: Path,
) -> None:
    """It stops all writing into Plant 3D, which nobody should have to look for in a log."""
    with desk(tmp_path, write="sql") as service:
        service.well()
        file = tmp_path / "plant3d-sync.yml"
        good = file.read_text(encoding="utf-8")
        assert told(service)["reasons"] == [] and shown(service) == {MINE: "sql", OTHER: "off"}

        file.write_text(good + "\n\tprojects: [", encoding="utf-8")
        seen = told(service)
        assert [reason["code"] for reason in seen["reasons"]] == ["config_unreadable"]
        assert seen["health"] == "degraded"
        assert "plant3d-sync.yml" in seen["reasons"][0]["message"]
        assert "nothing is written into Plant 3D" in seen["reasons"][0]["message"]
        assert shown(service) == {MINE: "off", OTHER: "off"}
        assert told(service, OTHER)["reasons"] == [], "it is never written"

        file.unlink()
        assert [reason["code"] for reason in told(service)["reasons"]] == ["config_unreadable"]
        file.write_text(good, encoding="utf-8")
        assert told(service)["reasons"] == [] and shown(service)[MINE] == "sql"


def test_a_project_shows_how_it_is_written_at_this_moment(tmp_path: Path) -> None:
    with desk(tmp_path, write="sql") as service:
        service.well()
        file = tmp_path / "plant3d-sync.yml"
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        document["projects"][MINE]["write"] = "workbook"
        document["projects"][OTHER]["write"] = "sql"
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        assert shown(service) == {MINE: "workbook", OTHER: "off"}, "more than at the start takes a restart"
        assert told(service)["reasons"] == [], "somebody wants it so"
        del document["projects"][MINE]
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        assert shown(service) == {MINE: "off", OTHER: "off"}
