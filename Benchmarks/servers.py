"""What the benchmarks in Python share: servers that end with them, the command under test, sessions, waiting."""
import os, socket, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOPOLOGY = os.path.join(ROOT, "topologies/product-events.yaml")
CACHE = os.environ.get("TIDEMARK_BENCHMARK_CACHE", os.path.join(tempfile.gettempdir(), "tidemark-benchmark-broker"))
sys.dont_write_bytecode = True


class Bench:
    """Processes of one benchmark, in a directory of its own; leaving it ends them."""

    def __init__(self, name, binary):
        self.binary = binary
        self.directory = tempfile.mkdtemp(prefix=f"tidemark-{name}-")
        self.started = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        import shutil

        for process in reversed(self.started):
            if process.poll() is None:
                process.terminate()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, command, **more):
        process = subprocess.Popen(command, **more)
        self.started.append(process)
        return process

    def tidemark(self, *arguments, **more):
        """Runs the command to its end; its standard output."""
        return subprocess.run([self.binary, *arguments], check=True, stdout=subprocess.PIPE, text=True, **more).stdout

    def start_broker(self):
        """A broker with unbounded retention. Exit code 69 if it cannot be had, which says nothing about Tidemark."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        log = open(self.path("broker.log"), "w")
        process = self.start([os.path.join(ROOT, "Benchmarks/broker"), CACHE, str(port)], stdout=log, stderr=subprocess.STDOUT)
        for _ in range(1200):
            if process.poll() is not None:
                self.unavailable("the broker did not start")
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            self.unavailable("the broker does not listen")
        os.environ["LD_LIBRARY_PATH"] = os.path.join(CACHE, "lib")
        os.environ["TIDEMARK_KAFKA"] = f"127.0.0.1:{port}"

    def unavailable(self, what):
        print(f"{what}:\n{open(self.path('broker.log')).read()[-2000:]}", file=sys.stderr)
        sys.exit(69)

    def make_topic(self, name, partitions):
        """Makes a topic before anything is sent to it."""
        sys.path.insert(0, os.path.join(CACHE, "site"))
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": os.environ["TIDEMARK_KAFKA"]})
        for made in admin.create_topics([NewTopic(name, partitions, 1)]).values():
            made.result(30)

    def start_postgres(self):
        """An ephemeral PostgreSQL; its process."""
        server = self.start([self.binary, "postgres"], stdout=subprocess.PIPE, text=True)
        os.environ["TIDEMARK_POSTGRES"] = server.stdout.readline().strip()
        return server

    def query(self, sql):
        """Rows as lists of texts. psql from the distribution, without the newer librdkafka's libraries."""
        out = subprocess.run(["psql", "-XAtq", "-F", "\t", "-c", sql, os.environ["TIDEMARK_POSTGRES"]], check=True, capture_output=True, text=True,
                             env=distribution()).stdout
        return [line.split("\t") for line in out.splitlines()]


def distribution():
    """The environment for the distribution's own programs."""
    return {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}


class Session:
    """One psql that answers many questions."""

    def __init__(self, bench):
        self.process = bench.start(["psql", "-XAtq", os.environ["TIDEMARK_POSTGRES"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   bufsize=1, env=distribution())

    def ask(self, sql):
        self.process.stdin.write(sql + "; SELECT 'end of answer';\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline().rstrip("\n")) != "end of answer":
            if not line and self.process.poll() is not None:
                sys.exit("psql ended")
            lines.append(line)
        return lines


class Instance:
    """One `tidemark run`, with a directory and a log of its own."""

    def __init__(self, bench, name, *more, place=None):
        self.name, self.log = name, bench.path(f"{place or name}.log")
        self.process = bench.start([bench.binary, "run", "--topology", TOPOLOGY, "--data-dir", bench.path(place or name), "--instance", name, *more],
                                   stderr=open(self.log, "w"))

    @property
    def messages(self):
        with open(self.log) as file:
            return file.read()

    def says(self, text):
        return text in self.messages

    def end(self):
        self.process.terminate()
        return self.process.wait()


def until(what, condition, seconds=300, pause=0.01):
    """Waits for a condition; its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(pause)
    sys.exit(f"{what} did not come within {seconds} s")


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]
