"""A hand-made agent: speaks the protocol of docs/protocol.md, and breaks it where a test says so.

A Peer is one TLS connection that carries frames. A HostileNode is a member of a real cluster, with
the credentials of a real `p2pd join`, whose agent never ran: it tells the tracker that it holds a
content whole, so that receivers are sent to it, and answers them as its behaviour says.
"""

import atexit
import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

from cluster import ClusterTest, MiB, ROOT, SLOWNESS, wait_until


class SourceAndReceiver(ClusterTest):
    """Each test has a name, a path and a file of its own, so that none is another's old version."""

    nodes = ("source", "receiver")

    def setUp(self):
        super().setUp()
        self.source, self.receiver = (self.cluster.nodes[name] for name in self.nodes)
        self.short = self._testMethodName.removeprefix("test_").replace("_", "-")
        self.name = f"images/{self.short}"


def _compile_messages():
    folder = tempfile.mkdtemp(prefix="p2pd-proto-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    files = [f"proto/{name}.proto" for name in ("content", "control", "peer", "statement")]
    # What one of ours imports is named without the folder (protobuf's CMake rule has it so).
    for command in ([f"-I{ROOT}", f"-I{ROOT}/proto", *files], [f"-I{ROOT}/proto", "run.proto"]):
        subprocess.run(["protoc", f"--python_out={folder}", *command], cwd=ROOT, check=True,
                       timeout=60)
    sys.path.insert(0, folder)


_compile_messages()
from proto import content_pb2, control_pb2, peer_pb2, statement_pb2  # noqa: E402 pylint: disable=C0413

HELLO, CONTROL, DENY_LIST = 1, 2, 3
HAVE, OFFER, REQUEST, CANCEL, DATA, REQUEST_RANGES, RUN_DATA = range(16, 23)
REFUSAL, BUSY, OF_RUN = 1, 2, 4
MAX_FRAME = MiB + 64
PIECE = 64 * 1024
BLOCK = 16 * 1024
BODY, CONTENT = peer_pb2.SPACE_BODY, peer_pb2.SPACE_DATA


def chunk_bytes(size):
    """How long the chunks of a file are."""
    chunk = 256 * 1024
    while chunk < 8 * MiB and chunk * 2048 < size:
        chunk *= 2
    return chunk


def chunk_count(size):
    return -(-size // chunk_bytes(size))


def frame(kind, channel, body, flags=0):
    return struct.pack("<IBBH", len(body), kind, flags, channel) + body


def varint(number):
    """At most ten bytes; negative numbers go round, as protobuf has it."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7f:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def run_request(chunk, offset, pieces):
    """The body of a REQUEST_RANGES; pieces are (offset in the chunk, length) in any order."""
    body, end = struct.pack("<II", chunk, offset), 0
    for begin, length in pieces:
        body += varint(begin - end) + varint(length)
        end = begin + length
    return body


def pieces_of(body):
    """Chunk, offset in the run and pieces of a REQUEST_RANGES that is in order."""
    chunk, offset = struct.unpack("<II", body[:8])
    numbers, number, shift = [], 0, 0
    for byte in body[8:]:
        number |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number, shift = 0, 0
    pieces, end = [], 0
    for gap, length in zip(numbers[::2], numbers[1::2]):
        pieces.append((end + gap, length))
        end += gap + length
    return chunk, offset, pieces


class Peer:
    """Frames over one TLS connection, for two minutes. Reading raises ConnectionError when the other
    side ends it, and TimeoutError when the time is over or nothing comes for a minute."""

    def __init__(self, tls):
        self.tls = tls
        self.tls.settimeout(60 * SLOWNESS)
        self.deadline = time.monotonic() + 120 * SLOWNESS
        self.write_lock = threading.Lock()
        self.spaces = {}  # the other side's channel numbers: (content id, space)

    def wait_for_ever(self):
        self.tls.settimeout(None)
        self.deadline = float("inf")

    # Sending.

    def send_raw(self, data):
        with self.write_lock:
            self.tls.sendall(data)

    def send(self, kind, channel, body, flags=0):
        self.send_raw(frame(kind, channel, body, flags))

    def message(self, message):
        self.send(CONTROL, 0, message.SerializeToString())

    def hello(self, listen_port=0):
        hello = peer_pb2.Hello(version_min=1, version_max=1, software="hand-made",
                               listen_port=listen_port)
        self.send(HELLO, 0, hello.SerializeToString())

    def open(self, channel, content, space=CONTENT, wants=False, ticket=b"", offers=False):
        self.message(peer_pb2.PeerMessage(open=peer_pb2.Open(
            channel=channel, content_id=content, space=space, wants=wants, ticket=ticket,
            offers=offers)))

    def have(self, channel, *runs):
        self.send(HAVE, channel, b"".join(struct.pack("<II", *run) for run in runs))

    def request(self, channel, chunk, offset, length):
        self.send(REQUEST, channel, struct.pack("<III", chunk, offset, length))

    def data(self, channel, chunk, offset, payload):
        self.send(DATA, channel, struct.pack("<II", chunk, offset) + payload)

    def request_ranges(self, channel, chunk, offset, pieces):
        self.send(REQUEST_RANGES, channel, run_request(chunk, offset, pieces))

    def run_data(self, channel, chunk, offset, payload):
        self.send(RUN_DATA, channel, struct.pack("<II", chunk, offset) + payload)

    def want_leaves(self, content, chunk):
        self.message(peer_pb2.PeerMessage(leaves_wanted=peer_pb2.LeavesWanted(
            content_id=content, chunk=chunk)))

    def leaves(self, content, chunk, leaves):
        self.message(peer_pb2.PeerMessage(leaves=peer_pb2.Leaves(
            content_id=content, chunk=chunk, leaves=leaves)))

    # Receiving.

    def _read_exactly(self, count):
        parts = []
        while count > 0:
            part = self.tls.recv(min(count, MiB))
            if not part:
                raise ConnectionError("the other side has ended the connection")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def read(self):
        """The next frame: type, flags, channel, body. Open messages are noted in `spaces`."""
        if time.monotonic() > self.deadline:
            raise TimeoutError("what was waited for has not come")
        length, kind, flags, channel = struct.unpack("<IBBH", self._read_exactly(8))
        body = self._read_exactly(length)
        if kind == CONTROL:
            said = peer_pb2.PeerMessage.FromString(body)
            if said.HasField("open"):
                self.spaces[said.open.channel] = (said.open.content_id, said.open.space)
        return kind, flags, channel, body

    def messages(self):
        """PeerMessages as they come; other frames are passed over."""
        while True:
            kind, _, _, body = self.read()
            if kind == CONTROL:
                yield peer_pb2.PeerMessage.FromString(body)

    def wait_end(self, timeout=30):
        """Reads until the other side ends the connection; TimeoutError when it does not."""
        deadline = time.monotonic() + timeout * SLOWNESS
        while time.monotonic() < deadline:
            self.tls.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                self.read()
            except TimeoutError:
                break
            except OSError:
                return
        raise TimeoutError("the connection was not ended")

    def close(self):
        with contextlib.suppress(OSError):
            self.tls.close()


class Member:
    """The credentials of a node that has joined, and connections made with them."""

    def __init__(self, data):
        self.identity = next(data.rglob("identity.pem"))
        self.bundle = next(data.rglob("bundle.pem"))

    def context(self, server):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.load_cert_chain(self.identity)
        context.load_verify_locations(self.bundle)
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["p2pd/1"])
        if server:
            context.num_tickets = 0
        return context

    def dial(self, address):
        host, port = address.rsplit(":", 1)
        plain = socket.create_connection((host, int(port)), timeout=30 * SLOWNESS)
        try:
            return Peer(self.context(server=False).wrap_socket(plain))
        except BaseException:
            plain.close()
            raise


class HostileNode:
    """A member that accepts connections of agents, and deals with each one in a thread by
    `behaviour(node, peer)`. What it does on its own ends with close()."""

    def __init__(self, cluster, name, behaviour):
        token = cluster.token()
        self.cluster = cluster
        self.name = name
        self.behaviour = behaviour
        self.program = cluster.add_node(name, token)  # never started
        self.member = Member(self.program.data)
        self.tickets = {}  # those that the tracker gave us, by job
        self.shown = []    # tickets that others have shown us
        self.asked = []    # (chunk, offset, length) of the data, as we were asked
        self.asked_runs = []   # (chunk, offset in the run, pieces), as we were asked
        self.asked_leaves = []  # chunks
        self.ends = 0      # connections that were ended by the other side
        self.closing = False
        self.peers = []
        self.threads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.tracker = None
        self._start(self._accept)

    def _start(self, function, *args):
        thread = threading.Thread(target=function, args=args, daemon=True)
        thread.start()
        self.threads.append(thread)

    def _accept(self):
        context = self.member.context(server=True)
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            plain.settimeout(30 * SLOWNESS)
            self._start(self._greet, context, plain)

    def _greet(self, context, plain):
        try:
            peer = Peer(context.wrap_socket(plain, server_side=True))
        except OSError:
            plain.close()
            return
        self._deal_with(peer)

    def _deal_with(self, peer):
        self.peers.append(peer)
        try:
            self.behaviour(self, peer)
            peer.wait_end(120)
            self.ends += 1
        except TimeoutError:
            pass
        except OSError:
            self.ends += 0 if self.closing else 1
        finally:
            peer.close()

    def dial(self, address):
        """A connection to another agent, dealt with like one that was accepted."""
        self._start(self._deal_with, self.member.dial(address))

    def go_online(self, *contents):
        """Tells the tracker that it holds these (content id as bytes, size) whole."""
        self.tracker = self.member.dial(self.cluster.tracker.ready["listen"])
        self.tracker.wait_for_ever()
        self.tracker.hello(self.port)
        holdings = [control_pb2.Holding(content_id=content, complete=True, bytes=size, path="/x")
                    for content, size in contents]
        for message in (
                control_pb2.AgentMessage(hello=control_pb2.AgentHello(
                    version="0.1.0", listen_port=self.port, roots=["/"], shares=["/"])),
                control_pb2.AgentMessage(holdings=control_pb2.Holdings(
                    holdings=holdings, first=True, last=True))):
            self.tracker.message(message)
        self._start(self._listen_to_tracker)

        def online():
            nodes = self.cluster.ctl_json("node", "list")["nodes"]
            return any(node["name"] == self.name and node["online"] for node in nodes)

        wait_until(online, what=f"{self.name} is online")

    def _listen_to_tracker(self):
        with contextlib.suppress(OSError), contextlib.closing(self.tracker):
            while True:
                kind, _, _, body = self.tracker.read()
                if kind != CONTROL:
                    continue
                said = control_pb2.TrackerMessage.FromString(body)
                if said.HasField("push"):
                    self.tickets[said.push.job] = said.push.ticket

    def close(self):
        self.closing = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self.listener.close()
        for peer in [self.tracker, *self.peers]:
            if peer:
                # The plain socket's own: whoever reads from it notices, and closes it.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(peer.tls, socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10 * SLOWNESS)


class FalseSeed:
    """A behaviour: claims to hold a file whole, gives its manifest body honestly, and calls
    `answer(node, peer, channel, chunk, offset, length)` for each request of data,
    `answer_run(node, peer, channel, chunk, offset, pieces)` for each one of ranges, and
    `answer_leaves(node, peer, chunk)` when it is asked for leaves."""

    def __init__(self, content, body, size, answer, chunks=None, answer_run=None,
                 answer_leaves=None):
        self.content = content
        self.body = body
        self.chunks = {BODY: 1, CONTENT: chunks or chunk_count(size)}  # that it says it has
        self.answer = answer
        self.answer_run = answer_run or (lambda *_: None)
        self.answer_leaves = answer_leaves or (lambda *_: None)

    def __call__(self, node, peer):
        peer.hello()
        for space in (BODY, CONTENT):
            self.give(peer, space)
        while True:
            kind, _, channel, body = peer.read()
            if kind == CONTROL:
                said = peer_pb2.PeerMessage.FromString(body)
                if said.HasField("open"):
                    if said.open.ticket:
                        node.shown.append(said.open.ticket)
                    if said.open.wants:
                        self.give(peer, said.open.space)
                if said.HasField("leaves_wanted"):
                    node.asked_leaves.append(said.leaves_wanted.chunk)
                    self.answer_leaves(node, peer, said.leaves_wanted.chunk)
            elif kind == REQUEST_RANGES:
                asked = pieces_of(body)
                node.asked_runs.append(asked)
                self.answer_run(node, peer, self.channel(CONTENT), *asked)
            elif kind == REQUEST:
                chunk, offset, length = struct.unpack("<III", body)
                if peer.spaces[channel][1] == BODY:
                    peer.data(self.channel(BODY), chunk, offset, self.body[offset:offset + length])
                    continue
                node.asked.append((chunk, offset, length))
                self.answer(node, peer, self.channel(CONTENT), chunk, offset, length)

    @staticmethod
    def channel(space):
        return 1 if space == BODY else 2

    def give(self, peer, space):
        peer.open(self.channel(space), self.content, space)
        peer.have(self.channel(space), (0, self.chunks[space]))
