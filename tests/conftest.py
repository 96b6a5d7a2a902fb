"""Fixtures that several test files share: an S3 server and a fresh bucket on it.

The server is moto's, in this process. Set ISOFLEET_TEST_S3 to the address of another one, and the AWS_
variables to its credentials, to run the same tests against that.
"""

import logging
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from cluster.config import S3Settings


@dataclass(frozen=True)
class S3:
    """A bucket of its own for one test."""

    endpoint_url: str
    bucket: str

    @property
    def settings(self) -> S3Settings:
        return S3Settings(endpoint_url=self.endpoint_url, max_attempts=3)

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The server's address; the environment has credentials for it, also for processes started from here."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_CONFIG_FILE", os.devnull)
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        if os.environ.get("ISOFLEET_TEST_S3"):
            yield os.environ["ISOFLEET_TEST_S3"]
            return
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-nobody")
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
        _make_conditional_puts_atomic(server)
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


def _make_conditional_puts_atomic(server: ThreadedMotoServer) -> None:
    # moto looks for the object and then writes it, without a lock: two threads could both find nothing.
    app, lock = server._server.app, threading.Lock()

    def one_at_a_time(environ, start_response):
        if "HTTP_IF_NONE_MATCH" not in environ:
            return app(environ, start_response)
        with lock:
            return app(environ, start_response)

    server._server.app = one_at_a_time


@pytest.fixture(scope="session")
def s3_client(s3_server: str):
    return boto3.client("s3", endpoint_url=s3_server)


@pytest.fixture
def s3(s3_server: str, s3_client) -> Iterator[S3]:
    bucket = f"isofleet-{uuid.uuid4().hex}"
    s3_client.create_bucket(Bucket=bucket)
    yield S3(s3_server, bucket)
    for page in s3_client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", ()):
            s3_client.delete_object(Bucket=bucket, Key=found["Key"])
    s3_client.delete_bucket(Bucket=bucket)
