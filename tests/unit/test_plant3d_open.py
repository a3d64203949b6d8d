"""What can be given as a Plant 3D project, and what each wrong thing is answered with."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d import copy_kind, guid_bytes, guid_text, open_source
from plant3d_sync.errors import ConfigError, RetryLaterError
from tests.support.dcf import DBID, Dcf


@pytest.fixture(autouse=True)
def private_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this test alone, so that what is left in it can be counted."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def dcf(tmp_path: Path) -> Dcf:
    project = tmp_path / "project"
    project.mkdir()
    return Dcf(project / "ProcessPower.dcf")


def code_of(spec: str | Path, **options: bool) -> str:
    with pytest.raises((ConfigError, RetryLaterError)) as caught:
        open_source(spec, **options).snapshot()
    assert caught.value.hint
    return caught.value.error_code


def test_a_file_a_folder_and_a_url_open_the_same_database(dcf: Dcf) -> None:
    for spec in (dcf.path, str(dcf.path), dcf.path.parent, f"sqlite:///{dcf.path}"):
        snapshot = open_source(spec).snapshot()
        assert snapshot.identity.dbid == str(DBID)
        snapshot.close()


def test_the_database_in_a_folder_is_found_in_any_case(tmp_path: Path) -> None:
    Dcf(tmp_path / "PROCESSPOWER.DCF")
    with open_source(tmp_path).snapshot() as snapshot:
        assert snapshot.name.endswith("PROCESSPOWER.DCF")


def test_a_folder_without_database_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "Piping.dcf").touch()
    with pytest.raises(ConfigError) as caught:
        open_source(tmp_path).snapshot()
    assert caught.value.error_code == "source_not_found"
    assert "Piping.dcf" in caught.value.message


def test_a_wrong_path_is_not_found(tmp_path: Path) -> None:
    assert code_of(tmp_path / "nowhere.dcf") == "source_not_found"
    assert not (tmp_path / "nowhere.dcf").exists()


def test_an_empty_file_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.dcf").touch()
    assert code_of(tmp_path / "a.dcf") == "source_empty"


def test_a_link_file_of_a_sql_server_project_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.dcf").write_bytes(b"<PnPLink server='x'/>")
    with pytest.raises(ConfigError) as caught:
        open_source(tmp_path / "a.dcf").snapshot()
    assert caught.value.error_code == "source_link_file"
    assert "PLANT3D_DB_" in caught.value.hint


def test_another_sqlite_file_is_not_a_plant_3d_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.dcf") as db:
        db.execute("CREATE TABLE PnPTables (TableName)")
    db.close()
    assert code_of(tmp_path / "a.dcf") == "source_not_plant3d"


def test_a_database_whose_base_table_lacks_its_class_column_is_refused(dcf: Dcf) -> None:
    dcf.sql("DROP TABLE PnPBase")
    dcf.sql("CREATE TABLE PnPBase (PnPID integer)")
    assert code_of(dcf.path) == "source_not_plant3d"


@pytest.mark.parametrize("keep", [50, 3000, 8192])
def test_a_cut_off_file_is_corrupt(dcf: Dcf, keep: int) -> None:
    with dcf.path.open("r+b") as stream:
        stream.truncate(keep)
    assert code_of(dcf.path) == "source_damaged"


def test_garbage_behind_a_good_header_is_corrupt(dcf: Dcf) -> None:
    size = dcf.path.stat().st_size
    with dcf.path.open("r+b") as stream:
        stream.seek(100)
        stream.write(os.urandom(size - 100))
    assert code_of(dcf.path) == "source_damaged"


@pytest.mark.parametrize("name", ["a?mode=rwc.dcf", "a#b%20c.dcf", "é à 'x'.dcf"])
def test_a_strange_file_name_stays_a_file_name(tmp_path: Path, name: str) -> None:
    Dcf(tmp_path / name)
    open_source(tmp_path / name).snapshot().close()
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [name]


def test_another_kind_of_url_is_refused(tmp_path: Path) -> None:
    assert code_of("postgresql://x/y") == "source_unknown_kind"


def test_a_collaboration_copy_is_refused_unless_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "AutoCAD Plant 3D" / "CollaborationCache" / "p"
    folder.mkdir(parents=True)
    Dcf(folder / "ProcessPower.dcf")
    assert copy_kind(folder / "ProcessPower.dcf") == "collaboration"
    assert code_of(folder) == "source_is_copy"
    snapshot = open_source(folder, allow_copy=True).snapshot()
    assert snapshot.identity.copy_kind == "collaboration"
    snapshot.close()


def test_a_vault_working_folder_is_refused_unless_allowed(dcf: Dcf) -> None:
    (dcf.path.parent / "_V").mkdir()
    assert code_of(dcf.path) == "source_is_copy"
    open_source(dcf.path, allow_copy=True).snapshot().close()


def test_an_ordinary_project_is_no_copy(dcf: Dcf) -> None:
    assert copy_kind(dcf.path) is None


def test_reading_leaves_the_bytes_of_the_source_and_nothing_beside_it(dcf: Dcf, private_temp: Path) -> None:
    dcf.add("CentrifugalPump", Tag="P-1")
    before, names = dcf.path.read_bytes(), os.listdir(dcf.path.parent)
    snapshot = open_source(dcf.path).snapshot()
    list(snapshot.scan(["CentrifugalPump"], {}))
    snapshot.findings()
    snapshot.close()
    snapshot.close()
    assert dcf.path.read_bytes() == before
    assert os.listdir(dcf.path.parent) == names
    assert list(private_temp.iterdir()) == []


def test_a_failed_opening_leaves_no_copy_behind(dcf: Dcf, private_temp: Path) -> None:
    dcf.sql("DROP TABLE PnPTables")
    assert code_of(dcf.path) == "source_not_plant3d"
    assert list(private_temp.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="only where an open file can lose its name")
def test_the_copy_has_no_name_while_it_is_read(dcf: Dcf, private_temp: Path) -> None:
    snapshot = open_source(dcf.path).snapshot()
    assert list(private_temp.iterdir()) == []
    assert snapshot.counts(["PnPBase"]) == {"PnPBase": 0}
    snapshot.close()


def test_the_signature_moves_with_every_commit_and_only_then(dcf: Dcf) -> None:
    source = open_source(dcf.path)
    first = source.signature()
    assert first is not None
    source.snapshot().close()
    assert source.signature() == first
    dcf.add("CentrifugalPump", Tag="P-1")
    assert source.signature() != first


def test_a_journal_beside_the_file_changes_the_signature(dcf: Dcf) -> None:
    source = open_source(dcf.path)
    first = source.signature()
    Path(f"{dcf.path}-wal").write_bytes(b"x" * 40)
    assert source.signature() != first


def test_a_commit_in_wal_mode_changes_the_signature_and_is_read(dcf: Dcf) -> None:
    dcf.sql("PRAGMA journal_mode = WAL")
    with sqlite3.connect(dcf.path) as writer:
        source = open_source(dcf.path)
        first = source.signature()
        writer.execute("INSERT INTO PnPBase VALUES (7, 'Primary', 0, 0, NULL, 1)")
        writer.commit()
        assert source.signature() != first
        snapshot = source.snapshot()
        assert snapshot.counts(["Primary"]) == {"Primary": 1}
        assert snapshot.journal_mode == "wal"
        assert snapshot.ask("PRAGMA journal_mode") == [("delete",)]
        snapshot.close()
    writer.close()


def test_a_missing_file_has_no_signature(tmp_path: Path) -> None:
    assert open_source(tmp_path / "gone.dcf").signature() is None


def test_the_snapshot_knows_the_identity_of_the_database(dcf: Dcf) -> None:
    item = dcf.add("CentrifugalPump", Tag="P-1")
    newest = dcf.sql("SELECT PnPTimestamp FROM PnPBase WHERE PnPID = ?", item)[0][0]
    source = open_source(dcf.path)
    signature = source.signature()
    snapshot = source.snapshot()
    identity = snapshot.identity
    assert (identity.dbid, identity.pnpid_counter, identity.rows) == (str(DBID), 100, 1)
    assert (identity.newest_timestamp, identity.signature, identity.engine) == (newest, signature, "sqlite")
    assert identity.change_counter == int.from_bytes(dcf.path.read_bytes()[24:28], "big")
    assert snapshot.lock_ms > 0
    snapshot.close()


def test_an_id_counter_that_never_existed_reads_as_zero(dcf: Dcf) -> None:
    dcf.sql("DROP TABLE PnPSys_PnPBase_PnPID")
    dcf.sql("DROP TABLE PnPDatabase")
    snapshot = open_source(dcf.path).snapshot()
    assert (snapshot.identity.pnpid_counter, snapshot.identity.dbid) == (0, "")
    snapshot.close()


@pytest.mark.parametrize(
    ("blob", "text"),
    [
        ("487FD7659AB61648B4C49F9C28C14B5C", "65d77f48-b69a-4816-b4c4-9f9c28c14b5c"),
        ("C31C3B5224DBC74287F8CBA76E1E1719", "523b1cc3-db24-42c7-87f8-cba76e1e1719"),
        ("6BE71836A7ECF44DA749DDF86B8E149C", "3618e76b-eca7-4df4-a749-ddf86b8e149c"),
    ],
)
def test_guids_of_a_real_project_read_as_the_data_manager_shows_them(blob: str, text: str) -> None:
    raw = bytes.fromhex(blob)
    assert guid_text(raw) == text
    assert guid_text("{" + text.upper() + "}") == text
    assert guid_bytes(text) == raw


@pytest.mark.parametrize("value", [None, b"", b"123", "no guid", 5, b"x" * 17])
def test_what_is_no_guid_reads_as_nothing(value: object) -> None:
    assert guid_text(value) == ""
    assert guid_bytes(value) is None
