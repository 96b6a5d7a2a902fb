"""What a user without permission is told, by a server that really refuses."""

import sys

import pytest

from jobs.cli import main


def run(environment: pytest.MonkeyPatch, *arguments: str) -> int:
    environment.setattr(sys, "argv", ["isofleet", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture
def stranger(radosgw, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a bucket that the user who is signed in may not touch."""
    bucket = radosgw.new_bucket()
    radosgw.sign_in(monkeypatch, radosgw.add_user(f"stranger-{bucket[-8:]}"))
    monkeypatch.setenv("ISOFLEET_STORE__S3__ENDPOINT_URL", radosgw.endpoint_url)
    monkeypatch.setenv("ISOFLEET_STORE__S3__REGION", "us-east-1")
    return f"s3://{bucket}"


def test_a_catalog_that_may_not_be_read(stranger: str, monkeypatch, capsys, tmp_path) -> None:
    status = run(monkeypatch, "reconstruct", f"{stranger}/photos", str(tmp_path / "out"))
    said = capsys.readouterr().err
    assert status == 2
    assert "refuses access" in said
    assert stranger.removeprefix("s3://") in said
    assert len(said.strip().splitlines()) <= 2  # the address of the metrics, and one sentence
    assert not (tmp_path / "out").exists()


def test_an_output_that_may_not_be_written(stranger: str, monkeypatch, capsys, tmp_path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(b"")
    status = run(monkeypatch, "reconstruct", str(images), f"{stranger}/meshes")
    said = capsys.readouterr().err
    assert status == 2
    assert "refuses access" in said
    assert "Traceback" not in said


def test_a_wrong_secret(radosgw, monkeypatch, capsys, tmp_path) -> None:
    bucket = radosgw.new_bucket()
    radosgw.sign_in(monkeypatch, (radosgw.access_key, "a-marked-secret"))
    monkeypatch.setenv("ISOFLEET_STORE__S3__ENDPOINT_URL", radosgw.endpoint_url)
    status = run(monkeypatch, "reconstruct", f"s3://{bucket}/photos", str(tmp_path / "out"))
    said = capsys.readouterr().err
    assert status == 2
    assert "check the credentials" in said
    assert "a-marked-secret" not in said
