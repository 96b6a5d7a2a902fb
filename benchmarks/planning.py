"""Listing a bucket and freezing its work list: does memory stay as it is while the catalog grows?

    python -m benchmarks.planning --keys 10000000

Works on: a server that speaks S3's ListObjectsV2 over HTTP and makes up its keys, boto3, and a folder that takes the
shards. Memory is that of a process which does nothing else; the server is another process.
"""

import argparse
import multiprocessing
import os
import shutil
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks.measure import Stopwatch, alone
from cluster.config import S3Settings, StoreSettings
from cluster.store import Stores
from jobs.catalog import open_catalog
from jobs.worklist import plan

PAGE = 1000  # keys to a page, S3's most
SHARD = 256  # the default of reconstruct.shard_size


class _Listing(BaseHTTPRequestHandler):
    """Pages of `keys` objects, named so that they come in order."""

    keys = 0
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        start = int(parse_qs(urlsplit(self.path).query).get("continuation-token", ["0"])[0])
        stop = min(start + PAGE, self.keys)
        found = "".join(
            f"<Contents><Key>photos/chair/{number:09d}.png</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{number:032x}&quot;</ETag><Size>20000</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for number in range(start, stop)
        )
        more = f"<NextContinuationToken>{stop}</NextContinuationToken>" if stop < self.keys else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>shop</Name><Prefix>photos/</Prefix><KeyCount>{stop - start}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
            f"<IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{found}</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def run(largest: int = 100_000) -> list[dict[str, Any]]:
    """A row for each power of ten from 10⁴ to `largest`."""
    print("keys        shards    seconds  µs a key  peak MiB above the start")
    rows = []
    keys = 10_000
    while keys <= largest:
        row = alone(_plan, keys)
        rows.append(row)
        print(f"{keys:10d}  {row['shards']:8d}  {row['seconds']:7.1f}  {row['seconds'] / keys * 1e6:8.1f}  "
              f"{row['peak_bytes'] / 2**20:8.1f}", flush=True)  # fmt: skip
        keys *= 10
    return rows


def _serve(keys: int, port: Connection) -> None:
    _Listing.keys = keys
    with ThreadingHTTPServer(("127.0.0.1", 0), _Listing) as server:
        port.send(server.server_address[1])
        server.serve_forever()


def _plan(keys: int) -> dict[str, Any]:
    os.environ |= {"AWS_ACCESS_KEY_ID": "made", "AWS_SECRET_ACCESS_KEY": "up", "AWS_DEFAULT_REGION": "us-east-1"}
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=_serve, args=(keys, theirs))
    server.start()
    output = tempfile.mkdtemp()
    try:
        stores = Stores(StoreSettings(s3=S3Settings(endpoint_url=f"http://127.0.0.1:{ours.recv()}")))
        with Stopwatch() as watch:
            source = open_catalog("s3://shop/photos/", stores, category=None, limit=None)
            shards = sum(1 for _ in plan(source, output, stores, SHARD))
        return {"keys": keys, "shards": shards, "seconds": watch.seconds, "peak_bytes": watch.peak_bytes}
    finally:
        server.kill()
        shutil.rmtree(output, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=100_000, help="the largest catalog")
    run(parser.parse_args().keys)
