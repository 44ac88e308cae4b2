#!/usr/bin/python3
"""The BitTorrent side of bench/swarm: what runs inside the lab's namespaces.

    announce ADDRESS                      an HTTP tracker (BEP 3, compact answers of BEP 23)
    make FILE TORRENT ADDRESS             a v1 torrent that names that tracker
    seed TORRENT ADDRESS FOLDER           a libtorrent session that has the file in FOLDER
    peer TORRENT ADDRESS INCOMING COPIES FIFO
                                          one that begins when something is written into FIFO and
                                          moves the finished file from INCOMING to COPIES
    rpc METHOD TORRENT ADDRESS...         a call of every aria2c

Bencode, torrents and sessions are libtorrent's (package python3-libtorrent).
"""

import base64
import collections
import http.server
import json
import pathlib
import socket
import sys
import time
import urllib.parse
import urllib.request

ANNOUNCE_PORT = 6969
PEER_PORT = 6881
RPC_PORT = 6800
INTERVAL_SECONDS = 30
CHUNK_MIN, CHUNK_MAX, CHUNKS = 256 << 10, 8 << 20, 2048


def libtorrent():
    try:
        import libtorrent as module
    except ImportError:
        sys.exit("libtorrent is not installed: apt-get install python3-libtorrent")
    return module


def announce(address):
    lt = libtorrent()
    swarms = collections.defaultdict(dict)  # info hash -> {(address, port): None}, oldest first

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self):
            url = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(url.query, encoding="latin-1"))
            try:
                me = (self.client_address[0], int(query["port"]))
                swarm = swarms[query["info_hash"]]
            except (KeyError, ValueError):
                self.send_error(400, "an announce needs info_hash and port")
                return
            event = query.get("event", "none")
            print(*me[:1], event, f"left={query.get('left')}", flush=True)
            peers = [peer for peer in swarm if peer != me]
            if event == "stopped":
                swarm.pop(me, None)
            else:
                swarm[me] = None
            packed = b"".join(socket.inet_aton(host) + port.to_bytes(2, "big")
                              for host, port in peers)
            body = lt.bencode({b"interval": INTERVAL_SECONDS, b"peers": packed})
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """The announces are the log."""

    with http.server.HTTPServer((address, ANNOUNCE_PORT), Handler) as server:
        print("listening", flush=True)
        server.serve_forever()


def make(file, torrent, address):
    lt = libtorrent()
    file = pathlib.Path(file)
    storage = lt.file_storage()
    size = file.stat().st_size
    storage.add_file(file.name, size)
    chunk = CHUNK_MIN  # p2pd's rule
    while chunk * CHUNKS < size and chunk < CHUNK_MAX:
        chunk *= 2
    maker = lt.create_torrent(storage, chunk, lt.create_torrent.v1_only)
    maker.add_tracker(f"http://{address}:{ANNOUNCE_PORT}/announce")
    lt.set_piece_hashes(maker, str(file.parent))
    pathlib.Path(torrent).write_bytes(lt.bencode(maker.generate()))


def session(lt, address):
    """The defaults, but for what looks beyond the lab and for uTP, which has its own congestion
    control: everything here goes over TCP."""
    return lt.session({
        "listen_interfaces": f"{address}:{PEER_PORT}", "enable_dht": False, "enable_lsd": False,
        "enable_upnp": False, "enable_natpmp": False, "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        "alert_mask": lt.alert.category_t.error_notification
                      | lt.alert.category_t.status_notification
                      | lt.alert.category_t.storage_notification})


def follow(lt, running, handle, copies=None):
    """Until SIGTERM: what ends well moves to its final name, what fails is printed."""
    while True:
        running.wait_for_alert(60_000)
        for alert in running.pop_alerts():
            if isinstance(alert, lt.torrent_finished_alert) and copies:
                handle.move_storage(copies)
            elif alert.category() & lt.alert.category_t.error_notification:
                print(alert, flush=True)


def seed(torrent, address, folder):
    lt = libtorrent()
    running = session(lt, address)
    handle = running.add_torrent({"ti": lt.torrent_info(torrent), "save_path": folder,
                                  "flags": lt.torrent_flags.seed_mode})
    follow(lt, running, handle)


def peer(torrent, address, incoming, copies, fifo):
    lt = libtorrent()
    running = session(lt, address)
    print("waiting", flush=True)
    pathlib.Path(fifo).read_text(encoding="utf-8")
    handle = running.add_torrent({"ti": lt.torrent_info(torrent), "save_path": incoming,
                                  "flags": lt.torrent_flags.update_subscribe})
    follow(lt, running, handle, copies)


def rpc(method, torrent, *addresses):
    """Retries only connections that are refused: a daemon that is not there yet."""
    params = []
    if method == "aria2.addTorrent":
        params = [base64.b64encode(pathlib.Path(torrent).read_bytes()).decode()]
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    deadline = time.monotonic() + 20
    for address in addresses:
        while True:
            try:
                with urllib.request.urlopen(f"http://{address}:{RPC_PORT}/jsonrpc", body,
                                            timeout=20) as answer:
                    answer.read()
                break
            except urllib.error.URLError as error:
                refused = isinstance(error.reason, ConnectionRefusedError)
                if not refused or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


if __name__ == "__main__":
    {"announce": announce, "make": make, "seed": seed, "peer": peer,
     "rpc": rpc}[sys.argv[1]](*sys.argv[2:])
