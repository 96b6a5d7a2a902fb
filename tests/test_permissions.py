"""What a user without permission is told, and what the documented permissions suffice for: a server that refuses."""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from conftest import Run
from faults import FaultyProxy, share
from radosgw import WORKER, Gateway
from test_reconstruct import content, convert, rows_of

from cluster.config import Config, S3Settings, StoreSettings, load
from cluster.store import Stores
from jobs.cli import main
from jobs.doctor import stores
from jobs.doctor.finding import Finding


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


def granted(user: str, bucket: str, *actions: str) -> str:
    """A policy that lets one user do so much with a bucket and what is in it."""
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    principal = {"AWS": f"arn:aws:iam:::user/{user}"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": list(actions), "Resource": resources}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_doctor_names_the_permission_that_is_missing(
    radosgw: Gateway, stranger: str, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, owner = stranger.removeprefix("s3://"), radosgw.client()
    user, config = f"stranger-{bucket[-8:]}", load(None, os.environ, {})

    def found(look: Callable[[str, Config], list[Finding]], *actions: str) -> tuple[str, str]:
        owner.delete_bucket_policy(Bucket=bucket)
        if actions:
            owner.put_bucket_policy(Bucket=bucket, Policy=granted(user, bucket, *actions))
        *_, last = look(f"{stranger}/out", config)
        assert not owner.list_multipart_uploads(Bucket=bucket).get("Uploads")
        return last.state, last.message

    objects = f"on arn:aws:s3:::{bucket}/out/*"
    seeing = ("s3:ListBucket",)
    least = ("s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload")
    for actions, state, said in (
        ((), "failure", f"what is missing is s3:ListBucket on arn:aws:s3:::{bucket}"),
        (seeing, "failure", f"what is missing is s3:PutObject and s3:AbortMultipartUpload {objects}"),
        ((*seeing, "s3:DeleteObject"), "failure", f"what is missing is s3:PutObject {objects}"),
        (least, "warning", f"to have them tried once give s3:DeleteObject {objects}"),
        ((*least, "s3:DeleteObject"), "ok", "refuses a second conditional write, and takes objects in parts"),
    ):
        seen = found(stores.output, *actions)
        assert seen[0] == state, (actions, seen)
        assert seen[1].endswith(said), (actions, seen)
        assert not owner.list_objects_v2(Bucket=bucket).get("Contents"), actions

    picture = next(iter(sorted(pictures.rglob("*.png"))))
    owner.put_object(Bucket=bucket, Key="out/chair/0.png", Body=picture.read_bytes())
    assert found(stores.catalog)[1].endswith(f"what is missing is s3:ListBucket on arn:aws:s3:::{bucket}")
    assert found(stores.catalog, *seeing)[1].endswith(f"what is missing is s3:GetObject on arn:aws:s3:::{bucket}/*")
    assert found(stores.catalog, "s3:ListBucket", "s3:GetObject")[0] == "ok"
    radosgw.sign_in(monkeypatch, (radosgw.access_key, "a-marked-secret"))
    state, said = found(stores.catalog)
    assert (state, said.rpartition(": ")[2]) == ("failure", "the server does not know this key or secret")
    assert "a-marked-secret" not in said


def documented(name: str, bucket: str) -> str:
    """The policy of docs/permissions.md, for this bucket and a user of this server."""
    text = (Path(__file__).parents[1] / "docs" / "permissions.md").read_text()
    found = re.search(rf"```json {name}\n(.*?)```", text, re.DOTALL)
    assert found
    policy = found[1].replace("arn:aws:iam::123456789012:role/isofleet", f"arn:aws:iam:::user/{WORKER}")
    return json.dumps(json.loads(policy.replace(name.upper(), bucket)))


def test_the_documented_permissions_suffice_on_a_store_that_fails(
    radosgw: Gateway, undisturbed: Run, catalog: Path, small: dict[str, Any]
) -> None:
    """As that user: a run whose store fails one request in ten, and its resumption after a part was lost."""
    source, output, owner = radosgw.new_bucket(), radosgw.new_bucket(), radosgw.client()
    for path in catalog.rglob("*.png"):
        owner.put_object(Bucket=source, Key=f"photos/{path.relative_to(catalog).as_posix()}", Body=path.read_bytes())
    owner.put_bucket_policy(Bucket=source, Policy=documented("source", source))
    owner.put_bucket_policy(Bucket=output, Policy=documented("output", output))
    with FaultyProxy(radosgw.endpoint_url, share(10, seed=5)).running() as proxy:
        settings = small | {
            "store.s3.endpoint_url": proxy.endpoint_url,
            "store.s3.region": "us-east-1",
            "store.s3.read_timeout_seconds": 5.0,
        }
        result = convert(f"s3://{source}/photos", f"s3://{output}/out", settings)
        owner.delete_object(Bucket=output, Key="out/manifest/shard-00003.parquet")
        again = convert(f"s3://{source}/photos", f"s3://{output}/out", settings)
    assert len(proxy.counts) >= 4
    assert (result.images, result.ok, again.shards_resumed) == (40, 35, 9)

    worker = boto3.session.Session().client("s3", endpoint_url=radosgw.endpoint_url, region_name="us-east-1")
    mesh = owner.list_objects_v2(Bucket=output, Prefix="out/meshes/")["Contents"][0]["Key"]
    for refused in (
        lambda: worker.put_object(Bucket=source, Key="photos/new.png", Body=b""),
        lambda: worker.delete_object(Bucket=source, Key="photos/chair/2.png"),
        lambda: worker.delete_object(Bucket=output, Key=mesh),
        lambda: worker.delete_bucket(Bucket=output),
        lambda: worker.put_bucket_policy(Bucket=output, Policy=documented("output", output)),
    ):
        with pytest.raises(ClientError) as caught:
            refused()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

    reader = Stores(StoreSettings(s3=S3Settings(endpoint_url=radosgw.endpoint_url, region="us-east-1")))
    rows, expected = rows_of(f"s3://{output}/out", reader), rows_of(undisturbed.output)
    apart = ("source_uri", "etag", "code_version")
    assert {key: content(row, *apart) for key, row in rows.items()} == {
        key: content(row, *apart) for key, row in expected.items()
    }
