"""The instances under torture: slots that hold one process each, with a disk of its own where the system allows."""
import os
import random
import shutil
import signal
import subprocess
import threading
import time

from processes import Tidemark, crash_lines

SESSION_SECONDS = 3.0
# A drain takes 10 s at most, whoever does not answer; this machine may be busy.
LONGEST_DRAIN = 12.0


class Slot:
    """One instance's place: data directory, log, process. A fault that plays with it holds `lock`."""
    keeps_files = True

    def __init__(self, world, name, route, flush_interval, journal_sync):
        self.world, self.name, self.route, self.flush_interval, self.journal_sync = world, name, route, flush_interval, journal_sync
        self.lock, self.disk_lock = threading.Lock(), threading.Lock()
        self.disk = f"{world.directory}/disk-{name}"
        self.data = f"{self.disk}/data"
        self.log = f"{world.directory}/{name}.log"
        self.process, self.should_run = None, False
        self.dice = random.Random(f"{world.shape['seed']}/{name}")
        # What excuses an end that would be a difference: a full disk, a flipped bit in a file.
        self.may_be_full, self.flipped = False, None
        os.makedirs(self.disk)
        self.has_own_disk = self.keeps_files and world.can_mount and mount(self.disk, "16m")

    def start(self):
        world = self.world
        arguments = ["run", "--topology", world.topology, "--data-dir", self.data, "--instance", self.name, "--group", world.group]
        arguments += ["--flush-interval", self.flush_interval, "--batch", str(world.shape["batch"])]
        # Mostly as many as before; a journal of another number of workers is thrown away.
        arguments += ["--workers", str(self.dice.choice([2, 2, 2, 1, 3]))]
        arguments += ["--journal-segment", "1", "--journal-sync", self.journal_sync] if self.journal_sync else ["--no-journal"]
        self.launch(arguments)

    def launch(self, arguments):
        world = self.world
        for setting in world.kafka_settings:
            arguments += ["--kafka-set", setting]
        environment = {"TIDEMARK_KAFKA": self.route.kafka_target, "TIDEMARK_POSTGRES": self.route.postgres_target}
        self.process = Tidemark(world.binary, arguments, self.log, environment)
        self.should_run = True

    @property
    def is_up(self):
        return self.process is not None and self.process.code is None

    def kill(self):
        """kill -9."""
        self.should_run = False
        self.process.kill()

    def stop(self, seconds):
        """SIGSTOP, a while, SIGCONT."""
        self.process.send(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send(signal.SIGCONT)

    def terminate(self, longest=LONGEST_DRAIN):
        """SIGTERM; the seconds that it took. What is wrong with its end is a difference."""
        self.should_run = False
        begin = time.monotonic()
        # Before it listens to signals, one ends it: nothing is to be drained then.
        is_young = self.process.age < 2
        self.process.send(signal.SIGTERM)
        code = self.process.wait(longest + 15)
        took = time.monotonic() - begin
        if code is None:
            self.world.differ(f"{self.name} did not end within {took:.0f} s of SIGTERM: {self.last_words()}")
            self.process.kill()
        elif code != 0 and not (is_young and code == -signal.SIGTERM) and not self.is_excused(code):
            self.world.differ(f"{self.name} ended with exit code {code} after SIGTERM: {self.last_words()}")
        elif took > longest:
            self.world.differ(f"{self.name} took {took:.1f} s to drain, more than {longest:.0f} s: {self.last_words()}")
        return took

    def last_words(self):
        return " / ".join(self.process.messages().splitlines()[-3:])

    def is_excused(self, code):
        """75, "try again", on a full disk; 65 for a damaged journal that it names."""
        return code == 75 and self.may_be_full or code == 65 and self.flipped is not None and self.flipped in self.last_words()

    def watch(self):
        """Starts it again if it ended by itself, which is a difference unless there was a reason."""
        if not self.should_run or self.process.code is None or not self.lock.acquire(blocking=False):
            return
        try:
            if self.should_run and self.process.code is not None:
                if not self.is_excused(self.process.code):
                    self.world.differ(f"{self.name} ended by itself with exit code {self.process.code}: {self.last_words()}")
                if self.process.code == 65:
                    self.delete_journal()
                time.sleep(0.5)
                self.start()
        finally:
            self.lock.release()

    def says(self, text, since, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if text in self.process.messages(since):
                return True
            if self.process.code is not None:
                return False
            time.sleep(0.1)
        return False

    # Its disk.

    def segments(self):
        """The log's segments, oldest first."""
        found = [f"{d}/{f}" for d, _, files in os.walk(self.data) for f in files if f.endswith(".log")]
        return sorted(found, key=os.path.basename)

    def delete_journal(self):
        self.flipped = None
        shutil.rmtree(self.data, ignore_errors=True)

    def cut_journal(self, share):
        """Cuts a share of what the newest segment holds, at any byte; how many bytes that were."""
        segments = self.segments()
        if not segments:
            return 0
        with open(segments[-1], "r+b") as file:
            content = file.read()
            used = len(content.rstrip(b"\0"))
            keep = int(used * (1 - share))
            file.truncate(keep)
        return used - keep

    def flip_journal(self, dice):
        """Flips a bit of what a segment holds: its byte; None: nothing is held."""
        segments = self.segments()
        if not segments:
            return None
        path = dice.choice(segments)
        with open(path, "r+b") as file:
            content = file.read().rstrip(b"\0")
            if not content:
                return None
            at = dice.randrange(len(content))
            file.seek(at)
            file.write(bytes([content[at] ^ (1 << dice.randrange(8))]))
        self.flipped = path
        return at

    @property
    def ballast(self):
        return f"{self.disk}/ballast"

    def fill_disk(self):
        """Fills the disk to its last byte."""
        self.may_be_full = True
        with open(self.ballast, "wb", buffering=0) as file:
            block = b"x" * 65536
            while block:
                try:
                    file.write(block)
                except OSError:
                    block = block[: len(block) // 2] if len(block) > 1 else b""

    def free_disk(self):
        if os.path.exists(self.ballast):
            os.remove(self.ballast)

    def close(self):
        if self.is_up:
            self.process.send(signal.SIGCONT)
            self.process.kill()
        if self.has_own_disk:
            subprocess.run(["umount", "-l", self.disk], check=False, stderr=subprocess.DEVNULL)

    def crashes(self):
        return crash_lines(self.process.messages()) if self.process else []


class Lander(Slot):
    """An instance of `tidemark land`."""
    keeps_files = False

    def __init__(self, world, name, route, flush_interval):
        super().__init__(world, name, route, flush_interval, None)

    def start(self):
        world = self.world
        arguments = ["land", "--topology", world.topology, "--instance", self.name, "--group", f"{world.group}-landing"]
        arguments += ["--flush-interval", self.flush_interval, "--batch", str(world.shape["landing_batch"])]
        self.launch(arguments)


def mount(path, size):
    """A file system in memory; False: not allowed here."""
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", path], check=False, stderr=subprocess.DEVNULL).returncode == 0
