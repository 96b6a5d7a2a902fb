"""Objects in buckets of S3, or of a server that speaks its protocol.

Works on: `s3://bucket/key`, taken literally. Knows nothing about what the bytes mean.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from operator import methodcaller
from typing import Any

import boto3
import botocore.session
from botocore import exceptions as botocore_errors
from botocore.config import Config as BotoConfig
from botocore.utils import parse_timestamp
from urllib3.exceptions import HTTPError

from cluster.config import S3Settings
from cluster.errors import RequestError
from cluster.store.addresses import canonical
from cluster.store.objects import (
    AccessDenied,
    AlreadyExists,
    CredentialsError,
    NotFound,
    Object,
    ObjectInfo,
    Observed,
    Observer,
    StoreError,
    Traffic,
    Unavailable,
    check_size,
)
from cluster.store.retries import BROKEN, EXPIRED_CODES, Retries, error_code

# Each part is a request of its own, repeated alone. S3 takes at most 10,000 parts of at least 5 MiB ("Amazon S3
# multipart upload limits", User Guide): room for 80 GiB, and an object here is one that memory holds.
_PART_BYTES = 8 * 1024 * 1024


class S3Store(Observed):
    """Buckets of S3 or a compatible server, through boto3. Every request is repeated as `Retries` says."""

    def __init__(self, settings: S3Settings, on_request: Observer | None = None) -> None:
        """Raises RequestError when the settings give no usable client (unknown profile, bad CA file)."""
        super().__init__(on_request)
        self._settings = settings
        if settings.ca_bundle is not None and not os.path.isfile(settings.ca_bundle):
            raise RequestError(f"store.s3.ca_bundle: there is no file {settings.ca_bundle}")
        try:
            self._retries = Retries(self._connect, settings.max_attempts, settings.retry_seconds)
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

    def _connect(self) -> Any:
        settings = self._settings
        core = botocore.session.Session()
        core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
        session = boto3.session.Session(
            profile_name=settings.profile, region_name=settings.region, botocore_session=core
        )
        return session.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            verify=(settings.ca_bundle or None) if settings.verify_tls else False,
            config=BotoConfig(
                retries={"mode": settings.retry_mode, "total_max_attempts": 1},
                connect_timeout=settings.connect_timeout_seconds,
                read_timeout=settings.read_timeout_seconds,
                max_pool_connections=settings.max_connections,
                s3={"addressing_style": settings.addressing_style},
            ),
        )

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
            with self.request("list", prefix_uri) as traffic:
                page = self._retries.run(methodcaller("list_objects_v2", **arguments), traffic)
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

    def get_range(self, uri: str, start: int, size: int) -> bytes:
        """Read a part of an object, in one ranged request."""
        return self._read(uri, None, {"Range": f"bytes={start}-{start + size - 1}"}).data

    def _read(self, uri: str, max_bytes: int | None, options: dict[str, Any]) -> Object:
        bucket, key = _split_object(uri)

        def ask(client: Any) -> Object:
            answer = client.get_object(Bucket=bucket, Key=key, **self._payer, **options)
            info = _info(bucket, key, answer)
            with closing(answer["Body"]) as body:
                check_size(info, max_bytes)
                return Object(body.read(), info)

        with self.request("get", uri) as traffic:
            found = self._retries.run(ask, traffic)
            traffic.received = len(found.data)
            return found

    def head(self, uri: str) -> ObjectInfo:
        """Size, ETag and time of an object. A missing bucket is NotFound too: S3 answers HEAD without a reason."""
        bucket, key = _split_object(uri)
        with self.request("head", uri) as traffic:
            return self._head(bucket, key, traffic)

    def put(self, uri: str, data: bytes, *, if_absent: bool = False, content_type: str | None = None) -> ObjectInfo:
        """Write an object: in parts if it is large, but in one request if it is conditional."""
        bucket, key = _split_object(uri)
        options: dict[str, Any] = {**self._payer, **self._encryption}
        if content_type is not None:
            options["ContentType"] = content_type
        with self.request("put", uri) as traffic:
            if if_absent:
                etag = self._put_if_absent(bucket, key, data, options, traffic)
            elif len(data) > self._settings.multipart_threshold_bytes:
                etag = self._put_in_parts(bucket, key, data, options, traffic)
            else:
                put = methodcaller("put_object", Bucket=bucket, Key=key, Body=data, **options)
                answer = self._retries.run(put, traffic)
                etag = answer["ETag"].strip('"')
            traffic.sent = len(data)
        return ObjectInfo(f"s3://{bucket}/{key}", key, len(data), etag)

    def remove(self, uri: str) -> None:
        """Delete an object. S3 refuses whoever may not do so even if there is none, and lets others."""
        bucket, key = _split_object(uri)
        with self.request("remove", uri) as traffic:
            self._retries.run(methodcaller("delete_object", Bucket=bucket, Key=key, **self._payer), traffic)

    def rehearse(self, uri: str) -> None:
        """Begin to write an object in parts and take it back: fails where a PUT would, and leaves nothing."""
        bucket, key = _split_object(uri)
        name: dict[str, Any] = {"Bucket": bucket, "Key": key, **self._payer}
        with self.request("put", uri) as traffic:
            begin = methodcaller("create_multipart_upload", **name, **self._encryption)
            upload = self._retries.run(begin, traffic)["UploadId"]
            self._retries.run(methodcaller("abort_multipart_upload", UploadId=upload, **name), traffic)

    def clock(self, prefix_uri: str) -> datetime | None:
        """The time on the server's clock, to the second, as its answers say; None where they do not."""
        bucket, prefix = _split(prefix_uri)
        with self.request("list", prefix_uri) as traffic:
            ask = methodcaller("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1, **self._payer)
            said = self._retries.run(ask, traffic)["ResponseMetadata"]["HTTPHeaders"].get("date")
        return parsedate_to_datetime(said) if said else None

    def _put_if_absent(self, bucket: str, key: str, data: bytes, options: dict[str, Any], traffic: Traffic) -> str:
        """The ETag of a conditional PUT.

        A PUT that was carried out but whose answer was lost meets its own object when it is repeated: 412, perhaps
        after a 409 while the first is still under way. So once an attempt has ended without the server's word, a
        412 is our own success if the object there has our bytes. (If another wrote the same bytes at that moment,
        what was asked for is there as well.)
        """
        unsure = False

        def ask(client: Any) -> str:
            nonlocal unsure
            try:
                answer = client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*", **options)
                return str(answer["ETag"]).strip('"')
            except botocore_errors.ClientError as error:
                status = _status(error)
                unsure = unsure or status >= 500  # a gateway's 502 or 504 says nothing of what the server did
                if status != 412 or not unsure:
                    raise
                stored = self.get(f"s3://{bucket}/{key}")
                if stored.data != data:
                    raise
                return stored.info.etag
            except BROKEN:
                unsure = True
                raise

        return self._retries.run(ask, traffic)

    def _put_in_parts(self, bucket: str, key: str, data: bytes, options: dict[str, Any], traffic: Traffic) -> str:
        """The ETag of an object written in parts, which appears when the last request completes it."""
        started = self._retries.run(methodcaller("create_multipart_upload", Bucket=bucket, Key=key, **options), traffic)
        upload: dict[str, Any] = {"Bucket": bucket, "Key": key, "UploadId": started["UploadId"], **self._payer}
        try:
            parts = []
            for number, start in enumerate(range(0, len(data), _PART_BYTES), start=1):
                part = {"PartNumber": number, "Body": data[start : start + _PART_BYTES], **upload}
                answer = self._retries.run(methodcaller("upload_part", **part), traffic)
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            self._retries.run(lambda client: _complete(client, upload, parts), traffic)
        except Exception:
            with suppress(botocore_errors.BotoCoreError, botocore_errors.ClientError):
                self._retries.client.abort_multipart_upload(**upload)  # parts that nobody completes cost money
            raise
        stored = self._head(bucket, key, traffic)  # radosgw's answer has no ETag
        if stored.size != len(data):
            raise Unavailable(
                f"{stored.uri} was written in parts and has {stored.size} of {len(data)} bytes", stored.uri
            )
        return stored.etag

    def _head(self, bucket: str, key: str, traffic: Traffic) -> ObjectInfo:
        name = {"Bucket": bucket, "Key": key, **self._payer}

        def ask(client: Any) -> ObjectInfo:
            try:
                return _info(bucket, key, client.head_object(**name))
            except botocore_errors.ClientError as error:
                if _status(error) in (400, 403):  # an answer to HEAD has no body to say whether a token has expired
                    with closing(client.get_object(Range="bytes=0-0", **name)["Body"]):
                        pass
                raise

        return self._retries.run(ask, traffic)

    def translate(self, error: Exception, uri: str) -> StoreError | None:
        bucket = _split(uri)[0]
        endpoint = self._retries.client.meta.endpoint_url
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
                return CredentialsError(
                    f"there are no credentials for {uri}; set store.s3.profile, AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY, or give the machine a role",
                    uri,
                )
            case botocore_errors.ParamValidationError():
                return Unavailable(f"{bucket!r} is not a name that a bucket can have; check {uri}", uri)
            case botocore_errors.HTTPClientError() | botocore_errors.ConnectionError() | HTTPError():
                return Unavailable(
                    f"{endpoint} could not be reached for the bucket {bucket!r} however often it was tried "
                    f"({type(error).__name__}); check store.s3.endpoint_url, store.s3.region and the network",
                    uri,
                )
            case botocore_errors.BotoCoreError():
                return Unavailable(f"{uri} failed in the S3 client ({type(error).__name__})", uri)
        return None

    def _from_answer(self, error: botocore_errors.ClientError, uri: str, bucket: str, endpoint: str) -> StoreError:
        status, code = _status(error), error_code(error)
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
            return Unavailable(f"{uri} was being written by others however often it was tried ({code})", uri)
        if code == "InvalidObjectState":
            return AccessDenied(f"{uri} is in an archive storage class; restore it first", uri)
        if code in EXPIRED_CODES:
            return CredentialsError(
                f"the credentials for {uri} have expired ({code}); renew them where boto3 finds them (sign in again, "
                "refresh the profile, or give the machine a role)",
                uri,
            )
        if status in (401, 403) or code == "InvalidToken":
            return AccessDenied(
                f"{endpoint} refuses access to {uri} ({code}); check the credentials and what they may do",
                uri,
            )
        if status == 429 or status >= 500:
            return Unavailable(f"{endpoint} failed at {uri} however often it was tried ({status} {code})", uri)
        return StoreError(f"{endpoint} rejects the request for {uri} ({status} {code})", uri)


class _NoSuchRange(StoreError):  # noqa: N818
    """The object has none of the bytes that were asked for."""


def _complete(client: Any, upload: dict[str, Any], parts: list[dict[str, Any]]) -> None:
    try:
        client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    except botocore_errors.ClientError as error:
        # An earlier attempt completed it, and its answer was lost. If the upload is gone for another reason, the
        # object's size says so.
        if error_code(error) != "NoSuchUpload":
            raise


def _timestamp(value: Any) -> datetime:
    """A date in an answer. botocore's own parser guesses at its form, which takes 40 % of the time of a listing."""
    with suppress(TypeError, ValueError):
        found = datetime.fromisoformat(value)
        if found.tzinfo:
            return found
    return parse_timestamp(value)  # the dates of headers, or another server's


def _info(bucket: str, key: str, answer: Mapping[str, Any]) -> ObjectInfo:
    """What the answer to a GET or HEAD says of the whole object, also when only a range of it came."""
    _, _, whole = answer.get("ContentRange", "").partition("/")  # "bytes 90-99/100"
    size = int(whole) if whole.isdecimal() else answer["ContentLength"]
    modified = answer["LastModified"].timestamp() if "LastModified" in answer else None
    return ObjectInfo(f"s3://{bucket}/{key}", key, size, answer["ETag"].strip('"'), modified)


def _status(error: botocore_errors.ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = canonical(uri).removeprefix("s3://").partition("/")
    return bucket, key


def _split_object(uri: str) -> tuple[str, str]:
    bucket, key = _split(uri)
    if not key:
        raise StoreError(f"{uri} is a bucket; name an object in it", uri)
    return bucket, key
