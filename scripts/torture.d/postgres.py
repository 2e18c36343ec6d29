"""An ephemeral PostgreSQL server that can be crashed, and a small client of its wire protocol."""
import os
import pwd
import shutil
import socket
import struct
import subprocess
import threading
import time


class PostgresError(Exception):
    """The server refused a statement, or is away."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def binaries():
    root = "/usr/lib/postgresql"
    versions = sorted((int(v) for v in os.listdir(root) if v.isdigit()), reverse=True) if os.path.isdir(root) else []
    for place in [f"{root}/{v}/bin" for v in versions] + os.environ.get("PATH", "").split(":"):
        if os.access(f"{place}/initdb", os.X_OK) and os.access(f"{place}/postgres", os.X_OK):
            return place
    raise PostgresError("PostgreSQL's initdb is not here: install the package postgresql")


class Server:
    """initdb in a directory, a port of its own, and a keeper that ends it with this process, however that comes about."""

    def __init__(self, directory):
        self.directory, self.bin, self.port = directory, binaries(), free_port()
        self.data = f"{directory}/data"
        self.keeper = None
        os.makedirs(directory)
        self.as_user = []
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(directory, user.pw_uid, user.pw_gid)
            self.as_user = ["/usr/sbin/runuser", "-u", "postgres", "--"]
        self._run([f"{self.bin}/initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"])
        self.start()

    def _run(self, command):
        done = subprocess.run(self.as_user + command, cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise PostgresError(f"{' '.join(command)}: {done.stdout}{done.stderr}")

    def start(self):
        settings = ["fsync=off", "max_connections=80", "log_min_messages=warning", "shared_buffers=64MB", "max_wal_size=512MB"]
        command = [f"{self.bin}/postgres", "-D", self.data, "-p", str(self.port), "-h", "127.0.0.1", "-k", self.directory]
        command += [word for s in settings for word in ("-c", s)]
        # Started by a shell whose standard input is this process: when it closes, the server goes.
        script = f"\"$0\" \"$@\" >> '{self.directory}/log' 2>&1 < /dev/null & s=$!; cat > /dev/null; kill -INT $s 2> /dev/null; wait $s"
        self.keeper = subprocess.Popen(
            self.as_user + ["/bin/sh", "-c", script] + command, cwd=self.directory, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + 60
        while True:
            try:
                return Client(self.port, "postgres").close()
            except (OSError, PostgresError):
                if time.monotonic() > end:
                    raise PostgresError(f"PostgreSQL does not start: see {self.directory}/log")
                time.sleep(0.05)

    def _end_keeper(self):
        if self.keeper:
            self.keeper.stdin.close()
            self.keeper.wait()
            self.keeper = None

    def crash(self):
        """Ends it as a crash would: no checkpoint, connections cut."""
        self._run([f"{self.bin}/pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop"])
        self._end_keeper()

    def close(self):
        self._end_keeper()
        shutil.rmtree(self.data, ignore_errors=True)


class Client:
    """One connection, simple queries, values as text. Trust authentication only: it talks to `Server` alone."""

    def __init__(self, port, database, timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.buffer = b""
        words = b"user\0postgres\0database\0" + database.encode() + b"\0application_name\0torture\0\0"
        self.socket.sendall(struct.pack(">ii", len(words) + 8, 196608) + words)
        self._until_ready()

    def _exactly(self, count):
        while len(self.buffer) < count:
            more = self.socket.recv(65536)
            if not more:
                raise PostgresError("the server has gone away")
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def _until_ready(self):
        rows, failure = [], None
        while True:
            kind, length = struct.unpack(">ci", self._exactly(5))
            body = self._exactly(length - 4)
            if kind == b"Z":
                break
            if kind == b"D":
                rows.append(self._values(body))
            elif kind == b"E":
                fields = {f[:1]: f[1:].decode(errors="replace") for f in body.split(b"\0") if f}
                failure = PostgresError(fields.get(b"M", "refused"))
                if fields.get(b"S") == "FATAL":
                    raise failure
        if failure:
            raise failure
        return rows

    @staticmethod
    def _values(body):
        values, at = [], 2
        for _ in range(struct.unpack(">h", body[:2])[0]):
            (length,) = struct.unpack(">i", body[at:at + 4])
            at += 4
            values.append(None if length < 0 else body[at:at + length].decode())
            at += max(0, length)
        return values

    def query(self, sql):
        """Rows of a statement (the last rows, if there are several)."""
        text = sql.encode() + b"\0"
        self.socket.sendall(b"Q" + struct.pack(">i", len(text) + 4) + text)
        return self._until_ready()

    def close(self):
        self.socket.close()


class Watcher:
    """A connection that comes back after the server does. For one thread at a time."""

    def __init__(self, server, database):
        self.server, self.database, self.client, self.lock = server, database, None, threading.Lock()

    def query(self, sql):
        with self.lock:
            try:
                if self.client is None:
                    self.client = Client(self.server.port, self.database)
                return self.client.query(sql)
            except (OSError, PostgresError) as error:
                self.close()
                raise PostgresError(str(error)) from None

    def patiently(self, sql, seconds=30):
        """The same, waiting for a server that is away."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.query(sql)
            except PostgresError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def close(self):
        if self.client:
            self.client.close()
        self.client = None
