#!/usr/bin/python3
"""An HTTP server for the files of a folder that answers any number of ranges in one request, which
zsync asks for and the standard library's server does not know.

    range_server.py ADDRESS:PORT FOLDER
"""

import http.server
import os
import pathlib
import re
import sys

BOUNDARY = "p2pd-bench-range"
PIECE = 1 << 20


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    folder = None

    def do_GET(self):
        path = (self.folder / self.path.lstrip("/")).resolve()
        if self.folder not in path.parents or not path.is_file():
            self.send_error(404)
            return
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            ranges = [(int(start), min(int(end or size), size - 1)) for start, end in
                      re.findall(r"(\d+)-(\d*)", self.headers.get("Range", ""))]
            if len(ranges) < 2:
                self._send_one(file, size, ranges)
            else:
                self._send_many(file, size, ranges)

    def _send_one(self, file, size, ranges):
        start, end = ranges[0] if ranges else (0, size - 1)
        self.send_response(206 if ranges else 200)
        if ranges:
            self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self._headers("application/octet-stream", end + 1 - start)
        self._copy(file, start, end)

    def _send_many(self, file, size, ranges):
        heads = [f"\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\n"
                 f"Content-Range: bytes {start}-{end}/{size}\r\n\r\n".encode()
                 for start, end in ranges]
        tail = f"\r\n--{BOUNDARY}--\r\n".encode()
        self.send_response(206)
        self._headers(f"multipart/byteranges; boundary={BOUNDARY}", sum(map(len, heads)) +
                      len(tail) + sum(end + 1 - start for start, end in ranges))
        for head, (start, end) in zip(heads, ranges):
            self.wfile.write(head)
            self._copy(file, start, end)
        self.wfile.write(tail)

    def _headers(self, kind, length):
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _copy(self, file, start, end):
        for at in range(start, end + 1, PIECE):
            self.wfile.write(os.pread(file.fileno(), min(PIECE, end + 1 - at), at))

    def log_message(self, *_):
        pass


def main():
    address, port = sys.argv[1].rsplit(":", 1)
    Handler.folder = pathlib.Path(sys.argv[2]).resolve()
    with http.server.ThreadingHTTPServer((address, int(port)), Handler) as server:
        print("listening", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
