"""The faults. Each is a function of the world and of numbers drawn from the seed before the round began; it says what it
did, or None if it could not do it (then it is not counted). They run in threads of their own and overlap as they fall; what
two of them cannot have at once is locked.
"""
import contextlib
import random
import signal
import time

from instances import SESSION_SECONDS
from postgres import PostgresError


class Busy(Exception):
    """What the fault needs is in the hands of another fault."""


@contextlib.contextmanager
def held(lock, seconds=5):
    if not lock.acquire(timeout=seconds):
        raise Busy()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def victim(world, dice, lock="lock", needs_journal=False):
    """A slot that no other fault plays with: the drawn one, or the next that is free and serves."""
    first = dice.randrange(3)
    for turn in range(40):
        slot = world.slots[(first + turn) % 3]
        if getattr(slot, lock).acquire(blocking=False):
            try:
                if slot.is_up and (slot.journal_sync or not needs_journal):
                    yield slot
                    return
            finally:
                getattr(slot, lock).release()
        time.sleep(0.1)
    raise Busy()


# Processes.


def kill_9(world, dice):
    with victim(world, dice) as slot:
        slot.kill()
        time.sleep(dice.uniform(0, 1.5))
        slot.start()
        return f"{slot.name} killed, started again"


def stopped(world, dice):
    with victim(world, dice) as slot:
        seconds = SESSION_SECONDS + dice.uniform(1, 4)
        slot.stop(seconds)
        return f"{slot.name} stood still for {seconds:.1f} s"


def terminated(world, dice):
    with victim(world, dice) as slot:
        took = slot.terminate()
        world.drains.append(took)
        time.sleep(dice.uniform(0, 1))
        slot.start()
        return f"{slot.name} drained in {took:.1f} s, started again"


def ended_in_a_hurry(world, dice):
    """Something comes on top of the drain: a second SIGTERM, which ends it at once with 130, or a kill -9."""
    with victim(world, dice) as slot:
        slot.should_run = False
        young, kills = slot.process.age < 2, dice.random() < 0.5
        slot.process.send(signal.SIGTERM)
        time.sleep(dice.choice([0.05, 0.2, 0.6]))
        slot.process.send(signal.SIGKILL if kills else signal.SIGTERM)
        code = slot.process.wait(15)
        # The first may have been enough by then; before it listens to signals, one ends it.
        if code not in (0, 130, -signal.SIGKILL) and not (young and code == -signal.SIGTERM) and not (code == 75 and slot.may_be_full):
            world.differ(f"{slot.name} ended with exit code {code} after two signals: {slot.last_words()}")
            slot.process.kill()
        slot.start()
        return f"{slot.name} told to drain, then {'killed' if kills else 'told again'}: exit code {code}, started again"


def all_killed(world, dice):
    """A power cut: every instance at once."""
    with contextlib.ExitStack() as stack:
        for slot in world.slots[:3]:
            stack.enter_context(held(slot.lock, 10))
        for slot in world.slots[:3]:
            slot.kill()
        time.sleep(dice.uniform(0, 2))
        for slot in world.slots[:3]:
            slot.start()
        return "all instances killed at once, started again"


def joined_and_left(world, dice):
    slot = world.slots[3]
    with held(slot.lock, 1):
        slot.start()
        seconds = dice.uniform(4, 9)
        time.sleep(seconds)
        if dice.random() < 0.3:
            slot.kill()
            return f"{slot.name} joined for {seconds:.1f} s and was killed"
        took = slot.terminate()
        world.drains.append(took)
        return f"{slot.name} joined for {seconds:.1f} s, drained in {took:.1f} s"


# Journals and disks.


def journal_deleted(world, dice):
    with victim(world, dice, needs_journal=True) as slot:
        slot.kill()
        slot.delete_journal()
        slot.start()
        return f"{slot.name} killed, journal deleted, started again"


def journal_cut(world, dice):
    with victim(world, dice, needs_journal=True) as slot:
        slot.kill()
        count = slot.cut_journal(1.0 if dice.random() < 0.15 else dice.random() ** 2)
        slot.start()
        return f"{slot.name} killed, {count} bytes cut off its journal, started again" if count else None


def disk_full(world, dice):
    """The disk is full under a running instance, or when one without a journal starts."""
    with victim(world, dice, "disk_lock", needs_journal=True) as slot:
        if not slot.has_own_disk:
            return None
        try:
            return full_at_start(slot, dice) if dice.random() < 0.5 else full_while_running(world, slot, dice)
        finally:
            slot.free_disk()
            time.sleep(2)
            slot.may_be_full = False


def full_while_running(world, slot, dice):
    since = slot.process.log_size()
    slot.fill_disk()
    # The segment in use has room left: it takes a while until the next one does not fit.
    if not slot.says("the journal takes no records", since, min(30, world.seconds_left())):
        return None
    seconds = dice.uniform(1, 5)
    time.sleep(seconds)
    return f"the disk of {slot.name} was full; freed {seconds:.1f} s after it said so"


def full_at_start(slot, dice):
    with held(slot.lock):
        slot.kill()
        slot.delete_journal()
        slot.fill_disk()
        since = slot.process.log_size()
        slot.start()
        # It ends with 75, "try again", or waits for room with its first partitions.
        waits = slot.says("the journal takes no records", since, 12)
        if not waits and slot.process.code != 75:
            return None
        seconds = dice.uniform(0, 3)
        time.sleep(seconds)
        slot.free_disk()
        if slot.process.code is not None:
            slot.start()
        return f"{slot.name} killed, journal deleted, disk full at its start: it {'waited' if waits else 'ended with 75'}; freed {seconds:.1f} s later"


# PostgreSQL.


def postgres_crash(world, dice):
    with held(world.postgres_lock):
        seconds = dice.uniform(0, 3)
        world.server.crash()
        time.sleep(seconds)
        world.server.start()
        return f"PostgreSQL crashed, away for {seconds:.1f} s"


def backend_terminated(world, dice):
    """pg_terminate_backend of a session that is inside of a transaction."""
    end = time.monotonic() + 6
    while time.monotonic() < end:
        try:
            done = world.watcher.query(
                "WITH chosen AS MATERIALIZED (SELECT pid, application_name, left(query, 40) AS doing FROM pg_stat_activity "
                "WHERE application_name LIKE 'tidemark%' AND xact_start IS NOT NULL AND state <> 'idle' AND query NOT LIKE 'SET%' LIMIT 1) "
                "SELECT application_name, doing FROM chosen WHERE pg_terminate_backend(pid)")
        except PostgresError:
            done = []
        if done:
            return f"session of {done[0][0]} terminated at: {' '.join(done[0][1].split())}"
    return None


def postgres_cut(world, dice):
    count = world.postgres_proxy.cut(dice.choice([0.5, 1.0]))
    return f"{count} connections to PostgreSQL cut" if count else None


def postgres_slow(world, dice):
    with held(world.postgres_net_lock):
        delay, seconds = dice.uniform(0.02, 0.25), dice.uniform(3, 6)
        world.postgres_proxy.slow(delay)
        time.sleep(seconds)
        world.postgres_proxy.slow(0)
        return f"each message to and from PostgreSQL {delay * 1000:.0f} ms late for {seconds:.1f} s"


def postgres_held(world, dice):
    with held(world.postgres_net_lock):
        # Beyond 10 s PostgreSQL itself gives up on a transaction whose client says nothing.
        seconds, cuts = dice.uniform(11, 14) if dice.random() < 0.25 else dice.uniform(2, 8), dice.random() < 0.5
        world.postgres_proxy.hold()
        time.sleep(seconds)
        if cuts:
            world.postgres_proxy.cut()
        world.postgres_proxy.release()
        return f"nothing came through to or from PostgreSQL for {seconds:.1f} s, {'then the connections were cut' if cuts else 'then all of it did'}"


def commit(kind, words):
    def fault(world, dice):
        with held(world.trap_lock):
            proxy = world.postgres_proxy
            proxy.set_trap(kind, dice.uniform(0.3, 3))
            if proxy.sprung.wait(8):
                return words
            proxy.disarm()
            return None
    return fault


# Kafka.


def kafka_cut(world, dice):
    share = dice.choice([0.3, 1.0])
    count = sum(world.kafka_proxies.each("cut", share))
    return f"{count} connections to brokers cut" if count else None


def kafka_slow(world, dice):
    with held(world.kafka_net_lock):
        delay, seconds = dice.uniform(0.02, 0.3), dice.uniform(3, 6)
        world.kafka_proxies.each("slow", delay)
        time.sleep(seconds)
        world.kafka_proxies.each("slow", 0)
        return f"each message to and from brokers {delay * 1000:.0f} ms late for {seconds:.1f} s"


def kafka_held(world, dice):
    with held(world.kafka_net_lock):
        seconds, cuts = dice.uniform(2, 8), dice.random() < 0.5
        world.kafka_proxies.each("hold")
        time.sleep(seconds)
        if cuts:
            world.kafka_proxies.each("cut")
        world.kafka_proxies.each("release")
        return f"nothing came through to or from brokers for {seconds:.1f} s, {'then the connections were cut' if cuts else 'then all of it did'}"


ERRORS = {
    "FETCH": [3, 5, 6, 7, 9, 56], "METADATA": [5], "LISTOFFSETS": [5, 6], "OFFSETCOMMIT": [14, 15, 16, 22, 25, 27], "FINDCOORDINATOR": [14, 15],
    "JOINGROUP": [14, 15, 16, 25], "SYNCGROUP": [16, 22, 25, 27], "HEARTBEAT": [15, 16, 22, 25, 27], "LEAVEGROUP": [15, 16],
}


def broker_error(world, dice):
    request = dice.choice(list(ERRORS))
    code, count = dice.choice(ERRORS[request]), dice.randint(1, 4)
    with held(world.broker_lock):
        return f"the next {count} {request} requests fail with code {code}" if world.broker.order(f"error {request} {code} {count}") else None


def broker_drop(world, dice):
    request, count = dice.choice(list(ERRORS)), dice.randint(1, 3)
    with held(world.broker_lock):
        return f"the connections of the next {count} {request} requests are cut" if world.broker.order(f"drop {request} {count}") else None


def broker_down(world, dice):
    with held(world.broker_lock):
        number, seconds = dice.randint(1, world.broker.brokers), dice.uniform(0.5, 5)
        # The mock cluster does not know an event that is sent twice: the producer must not wait for an answer now.
        with world.producer_at_rest():
            if not world.broker.order(f"down {number}"):
                return None
        time.sleep(seconds)
        return f"broker {number} was down for {seconds:.1f} s" if world.broker.order(f"up {number}") else None


def broker_slow(world, dice):
    with held(world.broker_lock):
        number, delay, seconds = dice.randint(1, world.broker.brokers), dice.randint(50, 500), dice.uniform(2, 5)
        world.broker.order(f"rtt {number} {delay}")
        time.sleep(seconds)
        done = world.broker.order(f"rtt {number} 0")
        time.sleep(delay / 1000)
        return f"broker {number} answered {delay} ms late for {seconds:.1f} s" if done else None


def leader_moved(world, dice):
    with held(world.broker_lock):
        moves = [(dice.randrange(world.partitions), dice.randint(1, world.broker.brokers)) for _ in range(dice.randint(1, 4))]
        done = all([world.broker.order(f"leader {world.topic} {p} {b}") for p, b in moves])
        return f"leaders moved: {', '.join(f'partition {p} to broker {b}' for p, b in moves)}" if done else None


def coordinator_moved(world, dice):
    with held(world.broker_lock):
        number = dice.randint(1, world.broker.brokers)
        return f"the group's coordinator is broker {number}" if world.broker.order(f"coordinator {world.group} {number}") else None


PROCESSES = {
    "kill -9": kill_9, "SIGSTOP, SIGCONT": stopped, "SIGTERM, restart": terminated, "fourth instance": joined_and_left,
    "SIGTERM, SIGTERM": ended_in_a_hurry, "all killed": all_killed,
}
JOURNALS = {"journal deleted": journal_deleted, "journal cut": journal_cut}
DISKS = {"disk full": disk_full}
POSTGRES = {
    "PostgreSQL crash": postgres_crash, "session terminated": backend_terminated, "PostgreSQL cut": postgres_cut,
    "PostgreSQL slow": postgres_slow, "PostgreSQL blackhole": postgres_held,
    "COMMIT answer lost": commit("answer", "PostgreSQL committed; the answer to COMMIT was not passed on, the connection cut"),
    "COMMIT answer silent": commit("silence", "PostgreSQL committed; the answer to COMMIT never came, the connection was cut later"),
    "COMMIT lost": commit("request", "COMMIT was not passed on, the connection cut"),
    "COMMIT late": commit("late", "the client was cut at its COMMIT, which reached PostgreSQL later"),
}
NETWORK = {"Kafka cut": kafka_cut, "Kafka slow": kafka_slow, "Kafka blackhole": kafka_held}
BROKER = {
    "broker error": broker_error, "broker drop": broker_drop, "broker down": broker_down, "broker slow": broker_slow,
    "leader moved": leader_moved, "coordinator moved": coordinator_moved,
}
ALL = {**PROCESSES, **JOURNALS, **DISKS, **POSTGRES, **NETWORK, **BROKER}


class Planned:
    def __init__(self, at, kind, dice):
        self.at, self.kind, self.dice = at, kind, dice


def plan(seed, kinds, seconds, every):
    """What is done when in a round of a seed: each kind in its turn, in an order of its own each time round."""
    dice = random.Random(seed)
    planned, deck, at = [], [], dice.uniform(0.5, 1.0) * every
    while at < seconds:
        if not deck:
            deck = sorted(kinds)
            dice.shuffle(deck)
        planned.append(Planned(at, deck.pop(), random.Random(dice.getrandbits(64))))
        at += dice.uniform(0.3, 1.7) * every
    return planned
