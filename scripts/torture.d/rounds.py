"""A round: load and faults, calm, everything caught up, everything ended, everything checked."""
import collections
import random
import subprocess
import threading
import time

import checks
import faults
from freshness import summary
from kafka import log_ends
from occasions import Busy
from processes import crash_lines, line_class
from world import World

CALM_SECONDS = 15
# Newest events that are younger than this are fresh: flushes come every second at most.
FRESH_SECONDS = 3.0
LONGEST_RECOVERY = 60
LONGEST_CATCH_UP = 120
# A message that an instance says more often than this in calm, after its recovery, has no end.
MOST_REPEATS = 5


def shape_of(seed, number, seconds, rate, partitions):
    """What a round is like: all from the seed."""
    dice = random.Random(f"{seed}/{number}/shape")
    return {
        "topology": ["product-events", "brief"][number % 2], "strategy": dice.choice(["cooperative-sticky", "cooperative-sticky", "range"]),
        "brokers": dice.choice([1, 3, 3]), "partitions": partitions, "flush": [dice.choice(["100ms", "300ms", "1s"]) for _ in range(4)],
        "journal": [dice.choice(["200ms", "200ms", "always", "never", None]) for _ in range(4)], "batch": dice.choice([4096, 4096, 50]),
        "landing": [dice.choice(["100ms", "500ms"]) for _ in range(2)], "landing_batch": dice.choice([20_000, 20_000, 100]),
        "events": seconds * rate, "rate": rate, "seconds": seconds, "users": dice.choice([200, 5000]), "seed": dice.getrandbits(32),
        "load": {"late": 0.01, "duplicates": 0.02, "invalid": 0.01, "far-future": 0.005, "tombstones": 0.005, "empty": 0.005},
    }


class Round:
    """Runs one and keeps what came of it."""

    def __init__(self, campaign, number, shape, planned, fault_seconds):
        self.campaign, self.number, self.shape, self.planned, self.fault_seconds = campaign, number, shape, planned, fault_seconds
        self.done, self.missed = collections.Counter(), collections.Counter()
        self.void = None
        self.during, self.after = [], []
        self.recovery = self.offsets = self.repeats = None
        self.quiet_since, self.threads = {}, []

    def say(self, text):
        self.campaign.log.say(f"round {self.number}: {text}")

    def run(self):
        world = self.world = World(self.campaign, self.number, self.shape)
        shape = self.shape
        brokers = "your" if self.campaign.kafka else shape["brokers"]
        self.say(
            f"topology {shape['topology']}, {shape['strategy']}, {brokers} brokers, {shape['events']:,} events at {shape['rate']}/s, "
            f"flush {'/'.join(shape['flush'])}, journal {'/'.join(j or 'none' for j in shape['journal'])}, "
            f"{len(self.planned)} faults planned; logs in {world.directory}")
        try:
            for slot in world.steady:
                slot.start()
            self.begin = time.monotonic()
            world.faults_end = self.begin + self.fault_seconds
            world.start_load()
            self.torture()
            self.calm()
            self.settle()
            self.end()
            self.check()
        except BrokerDied:
            self.void = f"the development broker ended by itself: {world.broker.last_words()}"
        except Exception as error:  # A mistake of this test, or a command that fails: to be seen either way.
            world.differ(f"the test itself: {type(error).__name__}: {error}")
        finally:
            # A fault that is still under way would start what is closed here.
            for thread in self.threads:
                thread.join(90)
            world.close()
        return self

    def watch(self):
        if not self.world.broker.is_alive:
            raise BrokerDied()
        for slot in self.world.everybody:
            slot.watch()

    # Faults.

    def torture(self):
        for fault in self.planned:
            while time.monotonic() < self.begin + fault.at:
                self.watch()
                time.sleep(0.1)
            thread = threading.Thread(target=self.carry_out, args=(fault,), daemon=True)
            thread.start()
            self.threads.append(thread)
        while any(thread.is_alive() for thread in self.threads):
            self.watch()
            time.sleep(0.1)

    def carry_out(self, fault):
        begin = time.monotonic() - self.begin
        try:
            words = faults.ALL[fault.kind](self.world, fault.dice)
        except Busy:
            words = None
        except Exception as error:  # A fault that cannot be carried out is a mistake of this test, and is to be seen.
            self.world.differ(f"the test itself: {fault.kind}: {type(error).__name__}: {error}")
            words = None
        end = time.monotonic() - self.begin
        if words:
            self.done[fault.kind] += 1
            self.say(f"{begin:5.1f} s to {end:5.1f} s  {fault.kind}: {words}")
        else:
            self.missed[fault.kind] += 1
            self.say(f"{begin:5.1f} s to {end:5.1f} s  {fault.kind}: had no occasion, not counted")

    # After.

    def calm(self):
        """No more faults: how long until all is fresh again, and how fresh it then stays while the load goes on."""
        world = self.world
        if hasattr(world.broker, "order"):
            for request in faults.ERRORS:
                world.broker.order(f"clear {request}")
        over = self.over = time.monotonic()
        # Faults may have outlasted the load: what is newest then is for the next step to await.
        while world.producer.code is None and (world.sampler.stalest() or 1e9) > FRESH_SECONDS:
            self.watch()
            if time.monotonic() > over + LONGEST_RECOVERY:
                world.differ(f"{LONGEST_RECOVERY} s after the last fault the stalest partition is {world.sampler.stalest()} s behind: {self.standing()}")
                break
            time.sleep(0.1)
        self.recovery = time.monotonic() - over if world.producer.code is None else None
        self.quiet_since = {slot: slot.process.log_size() for slot in world.steady}
        calm = time.monotonic()
        while world.producer.code is None and time.monotonic() < calm + 300:
            self.watch()
            time.sleep(0.1)
        loaded = time.monotonic()
        if world.producer.code != 0:
            raise RuntimeError(f"generate ended with exit code {world.producer.code}: {world.producer.messages()}")
        self.during, self.after = world.sampler.between(self.begin, over), world.sampler.between(calm, loaded)
        recovered = "the load ended with the faults" if self.recovery is None else f"fresh {self.recovery:.1f} s after the last fault"
        self.say("{}; stalest: {:.1f} s, partition {} at {}".format(recovered, *world.sampler.worst))

    def standing(self):
        rows = self.world.watcher.patiently(
            "SELECT partition, next_offset, end_offset, owner, epoch FROM tidemark.partition UNION ALL "
            "SELECT partition, next_offset, end_offset, owner, epoch FROM tidemark.landing ORDER BY 1, 4")
        return "; ".join("partition {} at {} of {}, owner {}, epoch {}".format(*row) for row in rows)

    def settle(self):
        """Everything that was sent is booked; without load after the faults that is the recovery."""
        world = self.world
        self.offsets = world.offsets_sent()
        end = time.monotonic() + LONGEST_CATCH_UP
        for ledger, what in (("tidemark.ledger", "booked"), ("tidemark.landing_ledger", "landed")):
            while (count := world.offsets_in(ledger)) < self.offsets:
                self.watch()
                if time.monotonic() > end:
                    return world.differ(f"{LONGEST_CATCH_UP} s after the load {self.offsets - count} of {self.offsets} offsets are not {what}: {self.standing()}")
                time.sleep(0.2)
        if self.recovery is None:
            self.recovery = time.monotonic() - self.over

    def end(self):
        """SIGTERM to all at once; then one more of each kind, past the proxies, finds nothing left to do."""
        world = self.world
        self.noise()
        threads = [threading.Thread(target=lambda s=slot: world.drains.append(s.terminate(15))) for slot in world.everybody if slot.is_up]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        kafka = ["--until-caught-up", "--topology", world.topology, "--kafka", world.broker.servers]
        self.last("instance", "run", "--data-dir", f"{world.directory}/last", "--no-journal", "--instance", "last", "--group", world.group, *kafka)
        self.last("lander", "land", "--instance", "last", "--group", f"{world.group}-landing", *kafka)
        # What differs from the nightly views must have a reason that the reconciler finds.
        self.last("reconciliation", "nightly", "--accept", "explained")

    def last(self, what, *arguments):
        world = self.world
        try:
            done = subprocess.run(
                [world.binary, *arguments, "--postgres", world.direct_target], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=90)
            if done.returncode != 0:
                world.differ(f"the last {what} ended with exit code {done.returncode}: {done.stdout.strip()[-1500:]} {done.stderr.strip()[-500:]}")
        except subprocess.TimeoutExpired as late:
            world.differ(f"the last {what} does not end within 90 s: {(late.stderr or b'').decode()[-500:]}")

    def noise(self):
        """What instances said in calm, again and again."""
        totals = collections.Counter()
        for slot in self.world.everybody:
            if slot.process is None:
                continue
            totals.update(line_class(line) for line in slot.process.messages().splitlines() if " warning " in line or " error " in line)
            if slot in self.quiet_since:
                said = collections.Counter(
                    line_class(line) for line in slot.process.messages(self.quiet_since[slot]).splitlines() if " warning " in line or " error " in line)
                for line, count in said.items():
                    if count > MOST_REPEATS:
                        self.world.differ(f"{slot.name} said {count} times in calm: {line}")
            for line in slot.crashes():
                self.world.differ(f"{slot.name} crashed: {line}")
        self.repeats = totals.most_common(8)

    def check(self):
        world = self.world
        ends = log_ends(world.broker.servers, world.topic, world.partitions)
        if len(ends) == world.partitions and sum(ends.values()) != self.offsets:
            # Kafka takes an event of an idempotent producer once, however often it is sent; the mock cluster does not know them.
            self.void = f"the broker holds {sum(ends.values())} messages, {self.offsets} were sent"
            return
        for table in ("tidemark.partition", "tidemark.landing"):
            for partition, offset in world.watcher.patiently(f"SELECT partition, next_offset FROM {table}"):
                if ends.get(int(partition), int(offset)) != int(offset):
                    world.differ(f"partition {partition} stands at {offset} in {table}, the log ends at {ends[int(partition)]}")
        for line in checks.all_differences(world.binary, world.server, world.database, world.expected):
            world.differ(line)
        for line in crash_lines(world.producer.messages()):
            world.differ(f"generate crashed: {line}")
        self.freshness = {"during": summary(self.during), "after": summary(self.after)}
        found = len(world.differences)
        self.say(f"{sum(self.done.values())} faults, {self.offsets:,} offsets, {found} differences")


class BrokerDied(Exception):
    """The mock cluster's process has ended: the round says nothing about Tidemark."""
