"""Signs that somebody else keeps the file in step, product by product."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from plant3d_sync.connectors.plant3d.writing.syncfolders import (
    LABELS,
    conflicted_copies,
    is_cloud_tag,
    sync_signs,
    unallowed,
)
from plant3d_sync.settings import ProjectFile


def names(path: Path, **environ: str) -> set[str]:
    return {sign.name for sign in sync_signs(path, environ=environ)}


def database(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "ProcessPower.dcf"
    file.touch()
    return file


@pytest.mark.parametrize(
    ("folder", "product"),
    [
        ("OneDrive", "onedrive"),
        ("ONEDRIVE - ACME SA", "onedrive"),
        ("OneDrive-Acme", "onedrive"),
        ("DC/ACCDocs/Acme/P1/Project Files", "desktop-connector"),
        ("Autodesk Docs/Acme", "desktop-connector"),
        ("BIM 360/Acme", "desktop-connector"),
        ("bim360 docs", "desktop-connector"),
        ("Dropbox", "dropbox"),
        ("Dropbox (Acme)", "dropbox"),
        ("Acme Dropbox/Anna", "dropbox"),
        ("Dropbox-Personal", "dropbox"),
        ("nextcloud", "nextcloud"),
        ("Nextcloud2", "nextcloud"),
        ("Nextcloud-anna@cloud.example.com", "nextcloud"),
        ("ownCloud - Anna", "nextcloud"),
        ("iCloudDrive", "icloud"),
        ("iCloud Drive (Archive)", "icloud"),
        ("Mobile Documents/com~apple~CloudDocs", "icloud"),
        ("Google Drive", "google-drive"),
        ("GoogleDrive-anna@example.com/My Drive", "google-drive"),
        ("Mon Drive", "google-drive"),
    ],
)
def test_a_folder_is_known_by_its_name_in_any_case_and_at_any_depth(
    tmp_path: Path, folder: str, product: str
) -> None:
    for spelt in (folder, folder.upper()):
        path = tmp_path / spelt / "plants" / "P1" / "ProcessPower.dcf"
        assert names(path) == {product}


@pytest.mark.parametrize(
    "folder", ["onedrives", "Drive", "My Drives", "drop", "Sync", "cloud", "Docs", "BIM", "Synced", "Projets"]
)
def test_other_names_are_no_sign(tmp_path: Path, folder: str) -> None:
    assert names(database(tmp_path / folder)) == set()


@pytest.mark.parametrize(
    ("marker", "product"),
    [
        (".dropbox.cache/", "dropbox"),
        (".dropbox", "dropbox"),
        (".sync_0a1b2c3d4e5f.db", "nextcloud"),
        ("._sync_0a1b2c3d4e5f.db", "nextcloud"),
        (".owncloudsync.log", "nextcloud"),
        (".nextcloudsync.log.1", "nextcloud"),
        (".csync_journal.db", "nextcloud"),
        (".stfolder/", "syncthing"),
        (".stignore", "syncthing"),
        (".tmp.drivedownload/", "google-drive"),
        (".tmp.driveupload/", "google-drive"),
    ],
)
def test_a_folder_is_known_by_what_the_client_leaves_in_it(tmp_path: Path, marker: str, product: str) -> None:
    path = database(tmp_path / "share" / "plants" / "P1")
    assert names(path) == set()
    place = tmp_path / "share" / marker
    place.mkdir() if marker.endswith("/") else place.touch()
    assert names(path) == {product}


def test_the_settings_of_dropbox_in_a_home_folder_are_no_sign(tmp_path: Path) -> None:
    (tmp_path / ".dropbox").mkdir()
    assert names(database(tmp_path / "P1")) == set()


@pytest.mark.parametrize(
    ("icon", "product"),
    [
        (r"C:\Program Files\Microsoft OneDrive\OneDrive.exe", "onedrive"),
        (
            r"C:\Program Files\Autodesk\Desktop Connector\DesktopConnector.Applications.Tray.exe",
            "desktop-connector",
        ),
        (r"C:\Program Files\Google\Drive File Stream\GoogleDriveFS.exe", "google-drive"),
        (r"C:\Program Files\Nextcloud\nextcloud.exe", "nextcloud"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_shared_library_without_a_telling_name_is_known_by_its_icon(
    tmp_path: Path, icon: str, product: str, encoding: str
) -> None:
    path = database(tmp_path / "Acme" / "Site - Documents" / "P1")
    ini = tmp_path / "Acme" / "Site - Documents" / "Desktop.ini"
    ini.write_text(f"[.ShellClassInfo]\nIconResource={icon},0\n", encoding=encoding)
    assert names(path) == {product}


def test_onedrive_says_where_it_is(tmp_path: Path) -> None:
    path = database(tmp_path / "Acme" / "P1")
    assert names(path, OneDriveCommercial=str(tmp_path / "Acme")) == {"onedrive"}
    assert names(path, ONEDRIVE=str(tmp_path / "acme")) == {"onedrive"}, "the names of Windows have no case"
    assert names(path, OneDrive=str(tmp_path / "Other"), OneDriveConsumer="") == set()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_link_hides_nothing(tmp_path: Path) -> None:
    database(tmp_path / "Dropbox" / "P1")
    (tmp_path / "plant").symlink_to(tmp_path / "Dropbox" / "P1")
    assert names(tmp_path / "plant" / "ProcessPower.dcf") == {"dropbox"}
    database(tmp_path / "real")
    (tmp_path / "Nextcloud").symlink_to(tmp_path / "real")
    assert names(tmp_path / "Nextcloud" / "ProcessPower.dcf") == {"nextcloud"}


@pytest.mark.parametrize(
    "copy",
    [
        "ProcessPower (Anna's conflicted copy 2026-01-15).dcf",
        "ProcessPower (conflicted copy 2026-01-15 101500).dcf",
        "ProcessPower (Copie en conflit de Anna 2026-01-15).dcf",
        "processpower (COPIE EN CONFLIT).DCF",
        "ProcessPower_conflict-20260115-101500.dcf",
        "ProcessPower.sync-conflict-20260115-101500-ABCDEFG.dcf",
        "ProcessPower [Conflict].dcf",
        "ProcessPower (Case Conflict).dcf",
        "ProcessPower-DESKTOP-1A2B3C4.dcf",
        "ProcessPower-LAPTOP-1A2B3C4D-2.dcf",
    ],
)
def test_a_conflicted_copy_beside_the_file_is_seen(tmp_path: Path, copy: str) -> None:
    path = database(tmp_path)
    (tmp_path / copy).touch()
    assert conflicted_copies(path) == [copy]
    assert names(path) == {"conflicted-copy"}


@pytest.mark.parametrize(
    "other",
    ["ProcessPower.dcf-journal", "ProcessPower - Copy.dcf", "ProcessPower-old.dcf", "Piping (conflicted copy).dcf",
     "ProcessPower conflict notes.txt", "ProcessPower.bak"],
)  # fmt: skip
def test_other_files_beside_it_are_none(tmp_path: Path, other: str) -> None:
    path = database(tmp_path)
    (tmp_path / other).touch()
    assert conflicted_copies(path) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_may_not_be_listed_shows_no_sign_and_stops_nobody(tmp_path: Path) -> None:
    path = database(tmp_path / "closed" / "P1")
    (tmp_path / "closed").chmod(0o311)
    try:
        assert names(path) == set()
    finally:
        (tmp_path / "closed").chmod(0o755)


def test_cloud_files_of_windows_are_known_by_their_tag() -> None:
    assert all(is_cloud_tag(0x9000001A | digit << 12) for digit in range(16))
    assert not any(is_cloud_tag(tag) for tag in (0, 0xA0000003, 0xA000000C, 0x80000017))


def test_a_project_allows_by_name_and_every_name_is_one_of_ours(tmp_path: Path) -> None:
    allowed = ProjectFile(
        synapse_project_id="6a1f3f0e-2f0f-4b7e-9d58-0e9a3f3c1a2b",
        allow_synced_folder=list(LABELS),
    )
    assert allowed.allow_synced_folder == list(LABELS)
    path = database(tmp_path / "Dropbox")
    (tmp_path / "Dropbox" / "ProcessPower (conflicted copy).dcf").touch()
    signs = sync_signs(path, environ={})
    assert [sign.name for sign in unallowed(signs, frozenset({"dropbox"}))] == ["conflicted-copy"]
