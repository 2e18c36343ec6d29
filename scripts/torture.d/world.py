"""What a round plays with: servers, proxies, instances, load."""
import contextlib
import json
import os
import signal
import subprocess
import threading
import time

import checks
from freshness import Sampler
from instances import Lander, Slot
from postgres import Client, Watcher
from processes import Broker, ForeignBroker, Tidemark
from proxies import KafkaProxies, PostgresProxy

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOPOLOGIES = {"product-events": f"{ROOT}/topologies/product-events.yaml", "brief": f"{ROOT}/scripts/torture.d/brief.yaml"}


class World:
    """One round's: a database, a topic, a consumer group, data directories; PostgreSQL and the event loop are the campaign's."""

    def __init__(self, campaign, number, shape):
        self.binary, self.server, self.loop, self.can_mount = campaign.binary, campaign.server, campaign.loop, campaign.can_mount
        self.partitions, self.shape, self.number = shape["partitions"], shape, number
        self.directory = f"{campaign.directory}/round-{number}"
        os.makedirs(self.directory)
        self.database, self.topic = f"round_{number}", f"torture-{campaign.name}-{number}"
        self.group = f"torture-{campaign.name}-{number}"
        self.differences, self.drains, self.difference_lock = [], [], threading.Lock()
        for name in ("postgres_lock", "lock_lock", "trap_lock", "broker_lock", "producer_lock"):
            setattr(self, name, threading.Lock())
        self.net_locks = {"postgres": threading.Lock(), "kafka": threading.Lock()}
        self.producer = self.sampler = None
        self.topology = self._write_topology(TOPOLOGIES[shape["topology"]])
        admin = Client(self.server.port, "postgres")
        admin.query(f"CREATE DATABASE {self.database}")
        admin.close()
        self.watcher = Watcher(self.server, self.database)
        self.run("migrate", "--topology", self.topology, "--postgres", self.direct_target)
        if campaign.kafka:
            self.broker = ForeignBroker(campaign.kafka)
        else:
            self.broker = Broker(self.binary, f"{self.directory}/broker.log", self.partitions, shape["brokers"], self.topic)
        self.routes = [Route(self, spares_joins=not campaign.kafka) for _ in shape["flush"] + shape["landing"]]
        self.kafka_settings = [
            "session.timeout.ms=3000", "heartbeat.interval.ms=500", "reconnect.backoff.max.ms=1000",
            f"partition.assignment.strategy={shape['strategy']}"]
        self.slots = [Slot(self, *all) for all in zip("abcd", self.routes, shape["flush"], shape["journal"])]
        self.landers = [Lander(self, *all) for all in zip(["land-a", "land-b"], self.routes[len(self.slots):], shape["landing"])]

    def _write_topology(self, source):
        with open(source) as file:
            text = file.read()
        path = f"{self.directory}/topology.yaml"
        with open(path, "w") as file:
            file.write(text.replace("topics: [product.events]", f"topics: [{self.topic}]"))
        return path

    @property
    def direct_target(self):
        return checks.target(self.server, self.database)

    def differ(self, text):
        with self.difference_lock:
            self.differences.append(text)

    def run(self, *arguments):
        done = subprocess.run([self.binary, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f"tidemark {' '.join(arguments)}: exit code {done.returncode}: {done.stderr}")

    def seconds_left(self):
        """Until the time of faults is over."""
        return max(0.0, self.faults_end - time.monotonic())

    @property
    def everybody(self):
        return self.slots + self.landers

    @property
    def steady(self):
        """Who runs all the time; the fourth instance comes and goes."""
        return self.slots[:3] + self.landers

    # Load.

    @property
    def expected(self):
        return f"{self.directory}/expected.json"

    def start_load(self):
        shape = self.shape
        arguments = ["generate", "--topic", self.topic, "--topology", self.topology, "--kafka", self.broker.servers, "--expect", self.expected]
        arguments += ["--events", str(shape["events"]), "--rate", str(shape["rate"]), "--start", "now", "--span", f"{shape['seconds']}s"]
        arguments += ["--partitions", str(self.partitions), "--users", str(shape["users"]), "--seed", str(shape["seed"]), "--payload-bytes", "0"]
        # The mock cluster answers a Fetch with one batch a partition: with small ones nobody catches up.
        arguments += ["--kafka-set", "linger.ms=100"]
        for fault, share in shape["load"].items():
            arguments += [f"--{fault}", str(share)]
        self.producer = Tidemark(self.binary, arguments, f"{self.directory}/generate.log", {})
        self.sampler = Sampler(self.server, self.database)

    @contextlib.contextmanager
    def producer_at_rest(self):
        """The producer stands still, and every answer to it has been given."""
        with self.producer_lock:
            self.producer.send(signal.SIGSTOP)
            try:
                time.sleep(0.2)
                yield
            finally:
                self.producer.send(signal.SIGCONT)

    def offsets_sent(self):
        with open(self.expected) as file:
            return json.load(file)["offsets"]

    def offsets_in(self, ledger):
        return int(self.watcher.patiently(f"SELECT COALESCE(sum(to_offset - from_offset), 0) FROM {ledger}")[0][0])

    def close(self):
        for slot in self.everybody:
            slot.close()
        if self.producer and self.producer.code is None:
            self.producer.kill()
        if self.sampler:
            self.sampler.close()
        self.watcher.close()
        for route in self.routes:
            route.close()
        self.broker.close()


class Route:
    """One instance's way to both servers. A broker that is not on the loopback is reached without a proxy."""

    def __init__(self, world, spares_joins):
        self.postgres = PostgresProxy(world.loop, world.server.port)
        self.postgres_target = checks.target(world.server, world.database, self.postgres.port)
        servers = world.broker.servers
        self.kafka = KafkaProxies(world.loop, servers, spares_joins) if is_local(servers) else None
        self.kafka_target = self.kafka.servers if self.kafka else servers

    def close(self):
        self.postgres.close()
        if self.kafka:
            self.kafka.close()


def is_local(servers):
    return all(server.rsplit(":", 1)[0] in ("127.0.0.1", "localhost") for server in servers.split(","))
