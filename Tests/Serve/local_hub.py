"""A hub on one port of this machine and its store for large files on another, as the real client expects them.

The hub answers revisions, trees in pages, HEAD and GET of files; large files are redirected to signed addresses of the
store, which refuses Authorization as real stores do, gives ranges, and breaks connections when it is told to.
"""

import hashlib
import http.server
import json
import re
import socket
import threading
import urllib.parse

COMMIT = "c0ffee00" * 5


def git_hash(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Large:
    """A large file, on disk."""

    def __init__(self, path):
        self.path = path
        self.size = path.stat().st_size
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
        self.sha256 = digest.hexdigest()


class Hub:
    """Files are bytes, or Large."""

    def __init__(self, files, card=None, page=1000):
        self.files = files
        self.card = card or {"license": "apache-2.0"}
        self.page = page
        self.sent = 0  # bytes that the store gave away
        self.breaks = []  # after how many bytes the store's next connections end
        self.broken = 0
        self.open = 0  # answers of the store under way, and most of them at a time
        self.most_open = 0
        self.expired = 0  # how many signed addresses are refused
        self.wrong = set()  # files that the store sends with a flipped bit
        self.seen = []  # (server, method, path, headers)
        self.lock = threading.Lock()
        self.store = self.serve(Store)
        self.hub = self.serve(Front)
        self.address = f"http://127.0.0.1:{self.hub.server_port}"

    def serve(self, handler):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.owner = self
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def stop(self):
        for server in (self.hub, self.store):
            server.shutdown()
            server.server_close()

    def tree(self, path):
        value = self.files[path]
        if isinstance(value, Large):
            return {"type": "file", "path": path, "size": value.size, "oid": "0" * 40, "xetHash": "ab" * 32,
                    "lfs": {"oid": value.sha256, "size": value.size, "pointerSize": 134}}
        return {"type": "file", "path": path, "size": len(value), "oid": git_hash(value)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # What is on its way when a client is killed counts as sent: little of it.
    def setup(self):
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        super().setup()

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(headers.pop("length", len(body))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def remember(self, server):
        with self.server.owner.lock:
            self.server.owner.seen.append((server, self.command, self.path, dict(self.headers)))

    def do_HEAD(self):
        self.do_GET()


class Front(Handler):
    def do_GET(self):
        self.remember("hub")
        hub = self.server.owner
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        if re.fullmatch(r"/api/models/[^/]+/[^/]+/revision/[^/]+", url.path):
            # The client wants some more keys than we do.
            return self.json({"id": "owner/model", "sha": COMMIT, "cardData": hub.card, "tags": [], "siblings": [],
                              "private": False, "downloads": 0, "likes": 0})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", url.path):
            first = int(query.get("cursor", ["0"])[0])
            names = sorted(hub.files)
            headers = {}
            if first + hub.page < len(names):
                headers["Link"] = (f"<{hub.address}/api/models/{match[1]}/tree/{COMMIT}?recursive=true&cursor="
                                   f"{first + hub.page}>; rel=\"next\"")
            return self.json([hub.tree(name) for name in names[first:first + hub.page]], headers)
        match = re.fullmatch(r"/[^/]+/[^/]+/resolve/([^/]+)/(.+)", url.path)
        name = urllib.parse.unquote(match[2]) if match else None
        if name not in hub.files:
            return self.answer(404, X_Error_Code="EntryNotFound")
        value = hub.files[name]
        if isinstance(value, Large):
            place = f"http://127.0.0.1:{hub.store.server_port}/{urllib.parse.quote(name)}?signature=1"
            return self.answer(302, Location=place, X_Repo_Commit=COMMIT, X_Linked_Etag=f'"{value.sha256}"',
                               X_Linked_Size=value.size, X_Xet_Hash="ab" * 32,
                               Link=f"<{hub.address}/xet>; rel=\"xet-auth\"")
        return self.answer(200, value, X_Repo_Commit=COMMIT, ETag=f'"{git_hash(value)}"')

    def json(self, value, headers={}):
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json", **headers)


class Store(Handler):
    def do_GET(self):
        self.remember("store")
        hub = self.server.owner
        if "Authorization" in self.headers or "signature=1" not in self.path:
            return self.answer(400, b"only one auth mechanism allowed")
        with hub.lock:
            hub.expired -= 1
            if hub.expired >= 0:
                return self.answer(403, b"Request has expired")
        name = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path[1:])
        value = hub.files[name]
        first, end = 0, value.size
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, end = int(match[1]), int(match[2]) + 1 if match[2] else value.size
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{value.size}")
        else:
            self.send_response(200)
        self.send_header("ETag", f'"{value.sha256}"')
        self.send_header("Content-Length", str(end - first))
        self.end_headers()
        if self.command == "HEAD":
            return
        with hub.lock:
            breaks = hub.breaks.pop(0) if hub.breaks and end - first > hub.breaks[0] else None
            hub.open += 1
            hub.most_open = max(hub.most_open, hub.open)
        try:
            self.send(value, name, first, end, breaks)
        finally:
            with hub.lock:
                hub.open -= 1

    def send(self, value, name, first, end, breaks):
        hub = self.server.owner
        rest = end - first if breaks is None else breaks
        with value.path.open("rb") as file:
            file.seek(first)
            while rest > 0 and (part := file.read(min(1 << 18, rest))):
                if name in hub.wrong and first == 0:
                    part = bytes([part[0] ^ 1]) + part[1:]
                    first = 1
                self.wfile.write(part)
                rest -= len(part)
                with hub.lock:
                    hub.sent += len(part)
        if breaks is not None:
            with hub.lock:
                hub.broken += 1
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
