"""Objects in buckets of S3, or of a server that speaks its protocol.

Works on: `s3://bucket/key`, taken literally. Knows nothing about what the bytes mean.
"""

import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from io import BytesIO
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as botocore_errors
from botocore.config import Config as BotoConfig

from cluster.config import S3Settings
from cluster.errors import RequestError
from cluster.store.addresses import canonical
from cluster.store.objects import (
    AccessDenied,
    AlreadyExists,
    NotFound,
    Object,
    ObjectInfo,
    Observed,
    Observer,
    StoreError,
    Unavailable,
    check_size,
)


class S3Store(Observed):
    """Buckets of S3 or a compatible server, through boto3.

    botocore retries what it can repeat (connections, throttling, 5xx). What only its caller can is retried
    here: a body that breaks off while it is read, and a conditional PUT that met another one (409).
    """

    def __init__(self, settings: S3Settings, on_request: Observer | None = None) -> None:
        """Raises RequestError when the settings give no usable client (unknown profile, bad CA file)."""
        super().__init__(on_request)
        self._settings = settings
        if settings.ca_bundle is not None and not os.path.isfile(settings.ca_bundle):
            raise RequestError(f"store.s3.ca_bundle: there is no file {settings.ca_bundle}")
        try:
            session = boto3.session.Session(profile_name=settings.profile, region_name=settings.region)
            self._client = session.client(
                "s3",
                endpoint_url=settings.endpoint_url,
                verify=(settings.ca_bundle or None) if settings.verify_tls else False,
                config=BotoConfig(
                    retries={"mode": settings.retry_mode, "total_max_attempts": settings.max_attempts},
                    connect_timeout=settings.connect_timeout_seconds,
                    read_timeout=settings.read_timeout_seconds,
                    max_pool_connections=settings.max_connections,
                    s3={"addressing_style": settings.addressing_style},
                ),
            )
        except (botocore_errors.BotoCoreError, ValueError) as error:
            raise RequestError(f"store.s3: boto3 makes no client of these settings: {error}") from error
        self._payer: dict[str, Any] = {"RequestPayer": "requester"} if settings.requester_pays else {}
        self._encryption = {
            name: value
            for name, value in {
                "ServerSideEncryption": settings.server_side_encryption,
                "SSEKMSKeyId": settings.sse_kms_key_id,
            }.items()
            if value is not None
        }

    def list(self, prefix_uri: str, after: str | None = None) -> Iterator[ObjectInfo]:
        """Stream a prefix, one page of at most 1,000 objects at a time."""
        bucket, prefix = _split(prefix_uri)
        if prefix and not prefix.endswith("/"):
            prefix += "/"
        root = f"s3://{bucket}/{prefix}"
        arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, **self._payer}
        if after:
            arguments["StartAfter"] = prefix + after
        while True:
            with self.request("list", prefix_uri):
                page = self._client.list_objects_v2(**arguments)
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(prefix)
                if key and not key.endswith("/"):
                    etag, modified = found["ETag"].strip('"'), found["LastModified"].timestamp()
                    yield ObjectInfo(root + key, key, found["Size"], etag, modified)
            if not page["IsTruncated"]:
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def get(self, uri: str, *, max_bytes: int | None = None) -> Object:
        """Read an object. A body shorter than its declared length or with a wrong checksum is read again."""
        return self._read(uri, max_bytes, {})

    def get_tail(self, uri: str, size: int) -> Object:
        """Read the end of an object, in one ranged request."""
        try:
            return self._read(uri, None, {"Range": f"bytes=-{size}"})
        except _NoSuchRange:  # an empty object has no last byte
            return Object(b"", self.head(uri))

    def _read(self, uri: str, max_bytes: int | None, options: dict[str, Any]) -> Object:
        bucket, key = _split_object(uri)
        with self.request("get", uri) as traffic:
            for attempt in range(1, self._settings.max_attempts + 1):
                answer = self._client.get_object(Bucket=bucket, Key=key, **self._payer, **options)
                info = _info(bucket, key, answer)
                with closing(answer["Body"]) as body:
                    check_size(info, max_bytes)
                    try:
                        data = body.read()
                    except _BROKEN_BODY:
                        if attempt == self._settings.max_attempts:
                            raise
                    else:
                        traffic.received += len(data)
                        return Object(data, info)
                _pause(attempt)
            raise AssertionError("max_attempts is at least 1")

    def head(self, uri: str) -> ObjectInfo:
        """Size, ETag and time of an object. A missing bucket is NotFound too: S3 answers HEAD without a reason."""
        bucket, key = _split_object(uri)
        with self.request("head", uri):
            return self._head(bucket, key)

    def put(self, uri: str, data: bytes, *, if_absent: bool = False, content_type: str | None = None) -> ObjectInfo:
        """Write an object: in parts if it is large, but in one request if it is conditional."""
        bucket, key = _split_object(uri)
        options: dict[str, Any] = {**self._payer, **self._encryption}
        if content_type is not None:
            options["ContentType"] = content_type
        with self.request("put", uri) as traffic:
            if if_absent:
                etag = self._put_if_absent(bucket, key, data, options)
            elif len(data) > self._settings.multipart_threshold_bytes:
                transfer = TransferConfig(multipart_threshold=self._settings.multipart_threshold_bytes)
                self._client.upload_fileobj(BytesIO(data), bucket, key, ExtraArgs=options, Config=transfer)
                etag = self._head(bucket, key).etag  # boto3 keeps it to itself, and radosgw's answer has none
            else:
                etag = self._client.put_object(Bucket=bucket, Key=key, Body=data, **options)["ETag"].strip('"')
            traffic.sent = len(data)
        return ObjectInfo(f"s3://{bucket}/{key}", key, len(data), etag)

    def _put_if_absent(self, bucket: str, key: str, data: bytes, options: dict[str, Any]) -> str:
        """The ETag of a conditional PUT.

        A PUT that succeeded but whose answer was lost is repeated by botocore, and then meets its own object:
        412. So after a repetition a 412 is our own success if the object there has our bytes. (If another
        wrote the same bytes at that moment, what was asked for is there as well.)
        """
        for attempt in range(1, self._settings.max_attempts + 1):
            try:
                answer = self._client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*", **options)
                return answer["ETag"].strip('"')
            except botocore_errors.ClientError as error:
                metadata = error.response["ResponseMetadata"]
                if metadata["HTTPStatusCode"] == 412 and metadata["RetryAttempts"] > 0:
                    stored = self.get(f"s3://{bucket}/{key}")
                    if stored.data == data:
                        return stored.info.etag
                    raise
                if metadata["HTTPStatusCode"] != 409 or attempt == self._settings.max_attempts:
                    raise
            _pause(attempt)
        raise AssertionError("max_attempts is at least 1")

    def _head(self, bucket: str, key: str) -> ObjectInfo:
        return _info(bucket, key, self._client.head_object(Bucket=bucket, Key=key, **self._payer))

    def translate(self, error: Exception, uri: str) -> StoreError | None:
        bucket = _split(uri)[0]
        endpoint = self._client.meta.endpoint_url
        attempts = self._settings.max_attempts
        match error:
            case botocore_errors.ClientError():
                return self._from_answer(error, uri, bucket, endpoint)
            case (
                botocore_errors.NoCredentialsError()
                | botocore_errors.PartialCredentialsError()
                | botocore_errors.CredentialRetrievalError()
                | botocore_errors.TokenRetrievalError()
                | botocore_errors.SSOError()
            ):
                return Unavailable(
                    f"there are no credentials for {uri}; set store.s3.profile, AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY, or give the machine a role",
                    uri,
                )
            case botocore_errors.ParamValidationError():
                return Unavailable(f"{bucket!r} is not a name that a bucket can have; check {uri}", uri)
            case botocore_errors.HTTPClientError() | botocore_errors.ConnectionError():
                return Unavailable(
                    f"{endpoint} could not be reached for the bucket {bucket!r} in {attempts} attempts "
                    f"({type(error).__name__}); check store.s3.endpoint_url, store.s3.region and the network",
                    uri,
                )
            case botocore_errors.BotoCoreError() | Boto3Error():
                return Unavailable(f"{uri} failed in the S3 client ({type(error).__name__})", uri)
        return None

    def _from_answer(self, error: botocore_errors.ClientError, uri: str, bucket: str, endpoint: str) -> StoreError:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        code = error.response["Error"].get("Code", "unknown")
        if code == "NoSuchBucket":
            return Unavailable(
                f"there is no bucket {bucket!r} at {endpoint}; check its name and store.s3.endpoint_url", uri
            )
        if status in (301, 307) or code in (
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ):
            return Unavailable(f"the bucket {bucket!r} is in another region; set store.s3.region to it", uri)
        if status == 404:
            return NotFound(f"{uri} does not exist", uri)
        if status == 416:
            return _NoSuchRange(f"{uri} has no such range", uri)
        if status == 412:
            return AlreadyExists(f"{uri} exists already", uri)
        if status == 409:
            attempts = self._settings.max_attempts
            return Unavailable(f"{uri} was being written by others at each of {attempts} attempts ({code})", uri)
        if code == "InvalidObjectState":
            return AccessDenied(f"{uri} is in an archive storage class; restore it first", uri)
        if status in (401, 403) or code in ("ExpiredToken", "InvalidToken"):
            return AccessDenied(
                f"{endpoint} refuses access to {uri} ({code}); check the credentials and what they may do",
                uri,
            )
        if status == 429 or status >= 500:
            attempts = self._settings.max_attempts
            return Unavailable(f"{endpoint} failed at {uri} in {attempts} attempts ({status} {code})", uri)
        return StoreError(f"{endpoint} rejects the request for {uri} ({status} {code})", uri)


class _NoSuchRange(StoreError):  # noqa: N818
    """The object has none of the bytes that were asked for."""


# A body that ended early, stalled, broke off or does not match its checksum.
_BROKEN_BODY = (
    botocore_errors.HTTPClientError,
    botocore_errors.IncompleteReadError,
    botocore_errors.FlexibleChecksumError,
)


def _info(bucket: str, key: str, answer: Mapping[str, Any]) -> ObjectInfo:
    """What the answer to a GET or HEAD says of the whole object, also when only a range of it came."""
    _, _, whole = answer.get("ContentRange", "").partition("/")  # "bytes 90-99/100"
    size = int(whole) if whole.isdecimal() else answer["ContentLength"]
    modified = answer["LastModified"].timestamp() if "LastModified" in answer else None
    return ObjectInfo(f"s3://{bucket}/{key}", key, size, answer["ETag"].strip('"'), modified)


def _pause(attempt: int) -> None:
    """Full jitter under a doubling cap (M. Brooker, "Exponential Backoff And Jitter", AWS, 2015)."""
    time.sleep(random.uniform(0, min(5.0, 0.1 * 2**attempt)))


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = canonical(uri).removeprefix("s3://").partition("/")
    return bucket, key


def _split_object(uri: str) -> tuple[str, str]:
    bucket, key = _split(uri)
    if not key:
        raise StoreError(f"{uri} is a bucket; name an object in it", uri)
    return bucket, key
