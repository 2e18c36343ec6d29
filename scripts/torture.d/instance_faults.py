"""Faults of the instances: their processes, journals and disks."""
import contextlib
import signal
import time

from instances import SESSION_SECONDS
from occasions import held, victim

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


def terminated_in_the_dark(world, dice):
    """SIGTERM for an instance to which nothing comes through any more: it must end in time all the same."""
    with victim(world, dice) as slot:
        ways = dice.choice([["postgres"], ["kafka"], ["postgres", "kafka"]])
        proxies = [p for p in (getattr(slot.route, way) for way in ways) if p]
        with contextlib.ExitStack() as stack:
            for way in ways:
                stack.enter_context(held(world.net_locks[way]))
            for proxy in proxies:
                proxy.hold()
            try:
                time.sleep(dice.uniform(0, 2))
                took = slot.terminate()
            finally:
                for proxy in proxies:
                    proxy.release()
        world.drains.append(took)
        slot.start()
        return f"{slot.name}, cut off from {' and '.join(ways)}, ended {took:.1f} s after SIGTERM, started again"


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
        if code not in (0, 130, -signal.SIGKILL) and not (young and code == -signal.SIGTERM) and not slot.is_excused(code):
            world.differ(f"{slot.name} ended with exit code {code} after two signals: {slot.last_words()}")
            slot.process.kill()
        slot.start()
        return f"{slot.name} told to drain, then {'killed' if kills else 'told again'}: exit code {code}, started again"


def all_killed(world, dice):
    """A power cut: every instance at once."""
    with contextlib.ExitStack() as stack:
        for slot in world.steady:
            stack.enter_context(held(slot.lock, 10))
        for slot in world.steady:
            slot.kill()
        time.sleep(dice.uniform(0, 2))
        for slot in world.steady:
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


def journal_flipped(world, dice):
    """One bit of the journal is wrong: it may be taken for a torn tail and cut, or refused by name (then an operator deletes
    it, as the message says), but never believed."""
    with victim(world, dice, needs_journal=True) as slot:
        slot.kill()
        at = slot.flip_journal(dice)
        slot.start()
        if at is None:
            return None
        file = slot.flipped
        if slot.process.wait(3) is None:
            return f"a bit flipped in {slot.name}'s journal at byte {at}, started again"
        if not slot.is_excused(slot.process.code):
            world.differ(f"{slot.name} met a flipped bit in {file} and ended with exit code {slot.process.code}: {slot.last_words()}")
        slot.delete_journal()
        slot.start()
        return f"a bit flipped in {slot.name}'s journal at byte {at}: refused by name, deleted, started again"


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
