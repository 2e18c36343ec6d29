"""Certificates, a TLS front with SASL PLAIN for the development broker, and an HTTPS server: what the check of TLS talks to."""
import asyncio
import http.server
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/torture.d"))
from proxies import KafkaProxy, Loop


class Authority:
    """A certificate authority in a directory, and what it has signed."""

    def __init__(self, directory, name):
        self.directory, self.name = directory, name
        self.certificate, self.key = self.path(f"{name}.crt"), self.path(f"{name}.key")
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate)

    def path(self, name):
        return os.path.join(self.directory, name)

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")

    def sign(self, name, alternative):
        """Certificate and key of a server, for the names that `alternative` lists (`IP:127.0.0.1`)."""
        request, certificate, key, extension = (self.path(f"{name}.{kind}") for kind in ("csr", "crt", "key", "ext"))
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        with open(extension, "w") as file:
            file.write(f"subjectAltName={alternative}\n")
        self._openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", "2", "-extfile", extension,
                      "-out", certificate)
        return certificate, key


class SecureKafka(KafkaProxy):
    """Terminates TLS, asks for SASL PLAIN, and forwards to a plain broker. A client that is not who it says gets no request through."""
    SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36

    def __init__(self, servers, certificate, key, user, password):
        host, port = servers.rsplit(":", 1)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.expected = b"\0" + user.encode() + b"\0" + password.encode()
        self.refused, self.authenticated, self.versions = 0, set(), {}
        ports = {}
        super().__init__(Loop(), int(port), "kafka over TLS", ports, False)
        ports[host.encode() + struct.pack(">i", int(port))] = host.encode() + struct.pack(">i", self.port)
        self.servers = f"{host}:{self.port}"

    async def _listen(self):
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20, ssl=self.context)
        return self.listener.sockets[0].getsockname()[1]

    async def inspect(self, connection, message, from_client):
        if not from_client:
            version = self.versions.pop((connection, message[4:8]), None)
            return await super().inspect(connection, message if version is None else self._with_sasl(message, version), from_client)
        key, version = struct.unpack(">hh", message[4:8])
        if key == self.API_VERSIONS:
            self.versions[connection, message[8:12]] = version
        elif key in (self.SASL_HANDSHAKE, self.SASL_AUTHENTICATE):
            return await self._answer(connection, message, key)
        elif connection not in self.authenticated:
            return None
        return await super().inspect(connection, message, from_client)

    def _with_sasl(self, answer, version):
        """The broker's list of calls (none before it may be longer than 126), and SASL's: version 3 is compact, with empty tags."""
        body = answer[10:]
        ours = [struct.pack(">hhh", key, 0, most) for key, most in ((self.SASL_HANDSHAKE, 1), (self.SASL_AUTHENTICATE, 0))]
        if version >= 3:
            body = bytes([body[0] + 2]) + b"".join(one + b"\0" for one in ours) + body[1:]
        else:
            body = struct.pack(">i", struct.unpack(">i", body[:4])[0] + 2) + b"".join(ours) + body[4:]
        return struct.pack(">i", 6 + len(body)) + answer[4:10] + body

    async def _answer(self, connection, message, key):
        name = struct.unpack(">h", message[12:14])[0]
        body = message[14 + max(0, name):]
        if key == self.SASL_HANDSHAKE:
            answer = struct.pack(">hih", 0, 1, 5) + b"PLAIN"
        elif body[4:] == self.expected:
            self.authenticated.add(connection)
            answer = struct.pack(">hhi", 0, -1, 0)
        else:
            self.refused += 1
            words = b"name or password is wrong"
            answer = struct.pack(">hh", 58, len(words)) + words + struct.pack(">i", 0)
        connection.writers[0].write(struct.pack(">i", 4 + len(answer)) + message[8:12] + answer)
        await connection.writers[0].drain()
        return b""


class Webhook:
    """An HTTPS server that keeps what was posted to it."""

    def __init__(self, certificate, key):
        received = self.received = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                received.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def has_mount_namespaces():
    """Whether a process may be given another file in place of the system's certificates."""
    return os.getuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
