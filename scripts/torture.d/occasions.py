"""What faults share: they overlap as they fall, and what two of them cannot have at once is locked."""
import contextlib
import time


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
    slots = world.slots[:3] if needs_journal else world.steady
    first = dice.randrange(len(slots))
    for turn in range(40):
        slot = slots[(first + turn) % len(slots)]
        if getattr(slot, lock).acquire(blocking=False):
            try:
                if slot.is_up and (slot.journal_sync or not needs_journal):
                    yield slot
                    return
            finally:
                getattr(slot, lock).release()
        time.sleep(0.1)
    raise Busy()
