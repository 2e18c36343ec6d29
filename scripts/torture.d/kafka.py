"""The one question that the checks ask Kafka themselves: where each partition's log ends."""
import socket
import struct

LIST_OFFSETS, VERSION, LATEST = 2, 1, -1


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def log_ends(servers, topic, partitions):
    """End offset by partition, from whichever of the servers leads it; partitions that none of them leads are left out."""
    ends = {}
    for server in servers.split(","):
        host, port = server.rsplit(":", 1)
        with socket.create_connection((host, int(port)), 10) as connection:
            asked = b"".join(struct.pack(">iq", p, LATEST) for p in range(partitions))
            body = struct.pack(">hhi", LIST_OFFSETS, VERSION, 1) + string("torture")
            body += struct.pack(">ii", -1, 1) + string(topic) + struct.pack(">i", partitions) + asked
            connection.sendall(struct.pack(">i", len(body)) + body)
            answer = exactly(connection, struct.unpack(">i", exactly(connection, 4))[0])
            # Correlation id, one topic with its name, then partition, error, timestamp, offset of each.
            at = 4 + 4 + 2 + len(topic.encode())
            (count,) = struct.unpack_from(">i", answer, at)
            for partition, error, _, offset in struct.iter_unpack(">ihqq", answer[at + 4:at + 4 + count * 22]):
                if error == 0:
                    ends[partition] = offset
    return ends


def exactly(connection, count):
    taken = b""
    while len(taken) < count:
        more = connection.recv(count - len(taken))
        if not more:
            raise OSError("the broker has closed the connection")
        taken += more
    return taken
