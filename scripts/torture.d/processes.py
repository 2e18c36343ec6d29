"""`tidemark` processes: started with their logs in files, watched, ended with exit codes that are judged."""
import os
import re
import signal
import subprocess
import threading
import time

CRASH = re.compile(r"fatal error|illegal instruction|segmentation|sigsegv|sigabrt|\bpanic\b|assertion|backtrac|program crashed", re.I)


class Tidemark:
    """One process. `log` holds its standard error."""

    def __init__(self, binary, arguments, log, environment, output=subprocess.DEVNULL, stdin=subprocess.DEVNULL):
        self.log, self.started = log, time.monotonic()
        surroundings = dict(os.environ, TIDEMARK_PARENT=str(os.getpid()), **environment)
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                [binary] + arguments, stdin=stdin, stdout=output, stderr=errors, env=surroundings, start_new_session=True)

    @property
    def age(self):
        return time.monotonic() - self.started

    @property
    def code(self):
        """Its exit code, negative for a signal; None: it runs."""
        return self.process.poll()

    def send(self, number):
        if self.code is None:
            self.process.send_signal(number)

    def wait(self, seconds):
        """Its exit code; None: it did not end in time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        self.send(signal.SIGKILL)
        self.process.wait()

    def messages(self, since=0):
        with open(self.log, "rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace")

    def log_size(self):
        return os.path.getsize(self.log)


def crash_lines(text):
    """Lines of a log that tell of a crash of the program itself."""
    return [line for line in text.splitlines() if CRASH.search(line)]


def line_class(line):
    """A message without its time, numbers and names: what is the same line said again."""
    line = re.sub(r"^\S+ (info|warning|error)\S*", r"\1", line)
    return re.sub(r"\d+", "#", line)[:160]


class Broker:
    """`tidemark broker --control`: orders go to its standard input, each is answered on its standard error."""

    def __init__(self, binary, log, partitions, brokers, topic):
        arguments = ["broker", "--control", "--partitions", str(partitions), "--brokers", str(brokers), "--topic", topic]
        self.brokers, self.log, self.lock = brokers, log, threading.Lock()
        self.tidemark = Tidemark(binary, arguments, log, {}, output=subprocess.PIPE, stdin=subprocess.PIPE)
        self.servers = self.tidemark.process.stdout.readline().decode().strip()
        if not self.servers:
            raise RuntimeError(f"the development broker does not start: {self.tidemark.messages()}")

    @property
    def is_alive(self):
        return self.tidemark.code is None

    def order(self, text):
        """Waits for the answer; False: the broker is gone."""
        with self.lock:
            before = self.tidemark.log_size()
            try:
                self.tidemark.process.stdin.write((text + "\n").encode())
                self.tidemark.process.stdin.flush()
            except OSError:
                return False
            end = time.monotonic() + 10
            while time.monotonic() < end and self.is_alive:
                answer = self.tidemark.messages(before)
                if "refused: " in answer:
                    raise RuntimeError(f"the broker refuses an order: {answer.strip()}")
                if "done: " in answer:
                    return True
                time.sleep(0.01)
            return False

    def last_words(self):
        """Why it ended, as far as it says so."""
        return f"exit code {self.tidemark.code}, {' / '.join(crash_lines(self.tidemark.messages())[:1]) or 'no words'}"

    def close(self):
        if self.is_alive:
            self.tidemark.process.stdin.close()
            if self.tidemark.wait(5) is None:
                self.tidemark.kill()


class ForeignBroker:
    """A cluster that was there before: TIDEMARK_KAFKA. It takes no orders."""

    def __init__(self, servers):
        self.servers, self.is_alive, self.brokers, self.log = servers, True, 0, None

    def close(self):
        pass
