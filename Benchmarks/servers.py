"""What the benchmarks in Python share: servers that end with them, and the command under test."""
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

    def start_postgres(self):
        """An ephemeral PostgreSQL; its process."""
        server = self.start([self.binary, "postgres"], stdout=subprocess.PIPE, text=True)
        os.environ["TIDEMARK_POSTGRES"] = server.stdout.readline().strip()
        return server

    def query(self, sql):
        """Rows as lists of texts. psql from the distribution, without the newer librdkafka's libraries."""
        environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
        out = subprocess.run(["psql", "-XAtq", "-F", "\t", "-c", sql, os.environ["TIDEMARK_POSTGRES"]], check=True, capture_output=True, text=True,
                             env=environment).stdout
        return [line.split("\t") for line in out.splitlines()]
