"""TCP proxies between each instance and the two servers: they cut, delay, hold back, and know a COMMIT when they see one.

A proxy forwards whole protocol messages, so that what it withholds is exactly what it means to. One event loop in a thread
of its own serves all of them; the methods that switch faults on and off may be called from any thread.

    instance ──► proxy ──► server        pass     bytes go through
                                         delayed  each message waits first
                                         held     nothing moves, new connections are accepted and get no answer
                                         closed   connections are cut, new ones refused
"""
import asyncio
import random
import socket
import struct
import threading


class Loop:
    """The event loop's thread."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True, name="proxies").start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)


class Connection:
    """One client's connection and its other half."""

    def __init__(self, client_writer, server_writer):
        self.writers = (client_writer, server_writer)
        self.requests = {}

    def abort(self):
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """Forwards to `port` on the loopback. `framing` cuts a stream into messages."""

    def __init__(self, loop, port, name):
        self.loop, self.upstream, self.name = loop, port, name
        self.connections, self.delay, self.is_closed = set(), 0.0, False
        self.dice = random.Random(0)
        self.is_open = None
        self.port = loop.call(self._listen())

    async def _listen(self):
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        return self.listener.sockets[0].getsockname()[1]

    async def _accept(self, reader, writer):
        connection = None
        try:
            if self.is_closed:
                return
            await self.is_open.wait()
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.upstream, limit=1 << 20)
            for w in (writer, server_writer):
                w.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(writer, server_writer)
            self.connections.add(connection)
            tasks = [
                asyncio.create_task(self._pump(connection, reader, server_writer, True)),
                asyncio.create_task(self._pump(connection, server_reader, writer, False)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            if connection:
                self.connections.discard(connection)
                for w in connection.writers:
                    w.close()
            else:
                writer.transport.abort()

    async def _pump(self, connection, reader, writer, from_client):
        is_first = True
        try:
            while True:
                message = await self.read(reader, from_client, is_first)
                is_first = False
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self.is_open.wait()
                message = await self.inspect(connection, message, from_client)
                if message is None:
                    return
                writer.write(message)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return

    async def read(self, reader, from_client, is_first):
        raise NotImplementedError

    async def inspect(self, connection, message, from_client):
        """The message to send on; None: the connection is over."""
        return message

    # Faults.

    def cut(self, share=1.0):
        """Cuts connections that are open now; how many that were."""
        async def work():
            chosen = [c for c in self.connections if self.dice.random() < share and self.may_cut(c)]
            for connection in chosen:
                connection.abort()
            return len(chosen)
        return self.loop.call(work())

    def may_cut(self, connection):
        return True

    def slow(self, seconds):
        self.delay = seconds

    def hold(self):
        self.loop.call(self._set(self.is_open.clear))

    def release(self):
        self.loop.call(self._set(self.is_open.set))

    async def _set(self, change):
        change()

    def close(self):
        async def work():
            self.listener.close()
            for connection in self.connections:
                connection.abort()
        self.loop.call(work())


class Trap:
    """What happens to the next COMMIT that comes by, once:

      answer    the server has committed, its answer is not passed on: the connection is cut
      silence   the same, but the connection says nothing for a while before it is cut
      request   the COMMIT is not passed on: both sides are cut, and the server rolls back
      late      the client is cut at once, the COMMIT reaches the server a while later
    """

    def __init__(self, kind, seconds):
        self.waits_for_request, self.kind, self.seconds = kind in ("request", "late"), kind, seconds
        self.is_open, self.sprung = True, threading.Event()

    def catches(self, message, from_client):
        if not self.is_open or from_client != self.waits_for_request:
            return False
        return message[:1] == (b"Q" if from_client else b"C") and message[5:] == b"COMMIT\0"


class PostgresProxy(Proxy):
    """Knows messages: type, length, body; the first one from a client has no type. (The clients ask for no TLS.)"""

    def __init__(self, loop, port, name="postgres"):
        self.trap = None
        super().__init__(loop, port, name)

    async def read(self, reader, from_client, is_first):
        if from_client and is_first:
            head = await reader.readexactly(4)
            return head + await reader.readexactly(struct.unpack(">i", head)[0] - 4)
        head = await reader.readexactly(5)
        return head + await reader.readexactly(struct.unpack(">i", head[1:])[0] - 4)

    async def inspect(self, connection, message, from_client):
        trap = self.trap
        if trap is None or not trap.catches(message, from_client):
            return message
        trap.is_open = False
        client, server = connection.writers
        if trap.kind == "late":
            client.transport.abort()
            await asyncio.sleep(trap.seconds)
            server.write(message)
            await server.drain()
            trap.sprung.set()
            # Its answer finds no client, which ends this connection.
            await asyncio.sleep(1)
        elif trap.kind == "silence":
            await asyncio.sleep(trap.seconds)
        trap.sprung.set()
        connection.abort()
        return None


class KafkaProxies:
    """One proxy a broker. Clients that come through them learn the proxies' ports in place of the brokers'."""

    def __init__(self, loop, servers, spares_joins):
        self.ports = {}
        self.proxies = []
        for server in servers.split(","):
            host, port = server.rsplit(":", 1)
            proxy = KafkaProxy(loop, int(port), f"kafka {server}", self.ports, spares_joins)
            self.ports[host.encode() + struct.pack(">i", int(port))] = host.encode() + struct.pack(">i", proxy.port)
            self.proxies.append(proxy)
        host = servers.split(",")[0].rsplit(":", 1)[0]
        self.servers = ",".join(f"{host}:{p.port}" for p in self.proxies)

    def cut(self, share=1.0):
        return sum(p.cut(share) for p in self.proxies)

    def slow(self, seconds):
        for proxy in self.proxies:
            proxy.slow(seconds)

    def hold(self):
        for proxy in self.proxies:
            proxy.hold()

    def release(self):
        for proxy in self.proxies:
            proxy.release()

    def close(self):
        for proxy in self.proxies:
            proxy.close()


class KafkaProxy(Proxy):
    """Knows messages: length, body. A port is four bytes wherever a broker's address stands in an answer: it is replaced in
    place, in the answers that hold addresses (Metadata, FindCoordinator)."""
    METADATA, FIND_COORDINATOR, JOIN_GROUP, SYNC_GROUP = 3, 10, 11, 14

    def __init__(self, loop, port, name, ports, spares_joins):
        self.replacements, self.spares_joins = ports, spares_joins
        super().__init__(loop, port, name)

    async def read(self, reader, from_client, is_first):
        head = await reader.readexactly(4)
        return head + await reader.readexactly(struct.unpack(">i", head)[0])

    async def inspect(self, connection, message, from_client):
        if from_client:
            key, _, correlation = struct.unpack(">hhi", message[4:12])
            connection.requests[correlation] = key
        elif connection.requests.pop(struct.unpack(">i", message[4:8])[0], None) in (self.METADATA, self.FIND_COORDINATOR):
            for here, there in self.replacements.items():
                message = message.replace(here, there)
        return message

    def may_cut(self, connection):
        """librdkafka's mock cluster (2.0.2) ends by an assertion when a member joins anew that still waits for an answer on a
        connection of which the cluster has not noticed that it is gone: it does not read from one that waits."""
        return not (self.spares_joins and {self.JOIN_GROUP, self.SYNC_GROUP} & set(connection.requests.values()))
