"""A hand-made agent that makes hints, right ones and wrong ones, and serves them.

It is a member of a real cluster that a new version is pushed to: who takes part may make hints of it
(tracker/job_hints.cpp). What it makes is served as any hint is, chunk by chunk, so whatever is wrong
with it is wrong in what it says.
"""

import hashlib
import operator
import struct

import hostile_peer as hp
from cluster import wait_until
from hostile_peer import HostileNode, content_pb2, control_pb2, peer_pb2, varint

RECIPE, SIGNATURE = control_pb2.HINT_RECIPE, control_pb2.HINT_SIGNATURE


def sha256(data):
    return hashlib.sha256(data).digest()


def tree_of(data):
    """The tree of bytes of one chunk at most."""
    assert 0 < len(data) <= hp.chunk_bytes(len(data))
    nodes = [sha256(data[at:at + hp.BLOCK]) for at in range(0, len(data), hp.BLOCK)]
    padding = bytes(32)
    while len(nodes) > 1:
        nodes += [padding] * (len(nodes) % 2)
        nodes = [sha256(left + right) for left, right in zip(nodes[::2], nodes[1::2])]
        padding = sha256(padding * 2)
    return content_pb2.Tree(size=len(data), root=nodes[0])


def zigzag(number):
    return varint(number << 1 ^ number >> 63)


def recipe(old, new, copies, count=None):
    """The bytes of a recipe from one file to another: (size, root) each. Copies are (offset in the
    new file, offset in the old one, length); `count` is what it says that there are."""
    out = b"p2pR" + varint(1)
    for size, root in (old, new):
        out += varint(size) + root
    out += varint(len(copies) if count is None else count)
    done = shift = 0
    for at, old_at, length in copies:
        out += varint(at - done) + varint(length) + zigzag(old_at - at - shift)
        done, shift = at + length, old_at - at
    return out


def signature(data, block=1024):
    """The bytes of a signature, as librsync writes it: RabinKarp, and 4 bytes of BLAKE2b."""
    powers = [pow(0x08104225, power, 1 << 32) for power in range(block, -1, -1)]
    out = bytearray(struct.pack(">III", 0x72730147, block, 4))
    for at in range(0, len(data), block):
        part = data[at:at + block]
        weak = sum(map(operator.mul, b"\1" + part, powers[block - len(part):]))
        out += struct.pack(">I", weak & 0xffffffff)
        out += hashlib.blake2b(part, digest_size=32).digest()[:4]
    return bytes(out)


class Version:
    """A content that the tracker knows, and its one file."""

    def __init__(self, cluster, content_hex):
        self.content = bytes.fromhex(content_hex)
        body = next(cluster.tracker.data.rglob(f"{content_hex}.body"))
        self.body = body.read_bytes()
        tree = content_pb2.ManifestBody.FromString(self.body).entries[0].tree
        self.size, self.root = tree.size, tree.root

    @property
    def file(self):
        return self.size, self.root


class HintMaker(HostileNode):
    """Serves what it has made, and nothing else."""

    def __init__(self, cluster, name):
        super().__init__(cluster, name, HintMaker.serve)
        self.hints = {}          # content id: bytes
        self.before = None       # called before a hint's bytes are sent, once
        self.mute = False        # say that there are hints, and send nothing of them
        self.go_online()

    def serve(self, peer):
        peer.hello()
        while True:
            kind, _, channel, body = peer.read()
            if kind == hp.CONTROL:
                said = peer_pb2.PeerMessage.FromString(body)
                if said.HasField("open") and said.open.wants:
                    self.answer_open(peer, said.open)
            elif kind == hp.REQUEST:
                content, _ = peer.spaces[channel]
                chunk, offset, length = struct.unpack("<III", body)
                hint = self.hints.get(content)
                if hint is None or self.mute:
                    continue
                before, self.before = self.before, None
                if before:
                    before()
                at = chunk * hp.chunk_bytes(len(hint)) + offset
                for piece in range(0, length, hp.PIECE):
                    peer.data(self.channel_of(content), chunk, offset + piece,
                              hint[at + piece:at + min(length, piece + hp.PIECE)])

    def channel_of(self, content):
        return 1 + list(self.hints).index(content)

    def answer_open(self, peer, wanted):
        hint = self.hints.get(wanted.content_id)
        if hint is None or wanted.space != hp.BODY:
            peer.message(peer_pb2.PeerMessage(close=peer_pb2.Close(
                content_id=wanted.content_id, space=wanted.space, reason="not here")))
            return
        channel = self.channel_of(wanted.content_id)
        peer.open(channel, wanted.content_id, hp.BODY)
        peer.have(channel, (0, hp.chunk_count(len(hint))))

    def take_part(self, name):
        """Becomes a target of a push of this version, and never does anything about it."""
        tasks = set(self.tickets)
        self.cluster.ctl_ok("push", name, "--to", self.name, "--path", "never", "--detach")
        wait_until(lambda: set(self.tickets) - tasks, what="the tracker sends a task")
        return self.cluster.newest_job()["id"]

    def make(self, kind, hint, new, old=None, copied=0):
        """Tells the tracker of a hint; returns its content id and the tracker's line about it."""
        root_record = content_pb2.RootRecord(version=1, body=tree_of(hint)).SerializeToString()
        content = sha256(root_record)
        self.hints[content] = hint
        made = control_pb2.HintMade(kind=kind, new_content=new.content, new_root=new.root,
                                    root_record=root_record, bytes=len(hint))
        if old:
            made.old_content, made.old_root = old.content, old.root
            made.copied_bytes = copied or new.size
        before = len(self.said_of_hints())
        self.tracker.message(control_pb2.AgentMessage(hint=made))
        wait_until(lambda: len(self.said_of_hints()) > before, what="the tracker has the hint")
        return content, self.said_of_hints()[-1]

    def said_of_hints(self):
        """What the tracker wrote about what this node has made."""
        return [line for line in self.cluster.tracker.log.read_text().splitlines()
                if f"node={self.name} " in line and "kept" in line]
