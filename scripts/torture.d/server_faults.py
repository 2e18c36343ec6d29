"""Faults of the brokers, and of the ways to both servers."""
import time

from occasions import held
from proxies import Trap

def between(world, dice, server):
    """The proxies of everybody, or of one instance alone, to a server; and whose they are."""
    if dice.random() < 0.5:
        slot = dice.choice(world.steady)
        return [getattr(slot.route, server)], f"between {slot.name} and"
    return [getattr(slot.route, server) for slot in world.everybody], "between all and"


def cut(server, name):
    def fault(world, dice):
        proxies, whose = between(world, dice, server)
        share = dice.choice([0.5, 1.0])
        end = time.monotonic() + 5
        while not (count := sum(proxy.cut(share) for proxy in proxies)) and time.monotonic() < end:
            time.sleep(0.1)
        return f"{count} connections {whose} {name} cut" if count else None
    return fault


def slow(server, name):
    def fault(world, dice):
        proxies, whose = between(world, dice, server)
        with held(world.net_locks[server]):
            delay, seconds = dice.uniform(0.02, 0.3), dice.uniform(3, 6)
            for proxy in proxies:
                proxy.slow(delay)
            time.sleep(seconds)
            for proxy in proxies:
                proxy.slow(0)
        return f"each message {whose} {name} {delay * 1000:.0f} ms late for {seconds:.1f} s"
    return fault


def blackhole(server, name):
    def fault(world, dice):
        proxies, whose = between(world, dice, server)
        # Beyond 3 s the group gives up on an instance, beyond 10 s PostgreSQL on a transaction whose client says nothing.
        seconds, cuts = dice.uniform(11, 14) if dice.random() < 0.25 else dice.uniform(2, 8), dice.random() < 0.5
        with held(world.net_locks[server]):
            for proxy in proxies:
                proxy.hold()
            time.sleep(seconds)
            for proxy in proxies:
                if cuts:
                    proxy.cut()
                proxy.release()
        return f"nothing came through {whose} {name} for {seconds:.1f} s, {'then the connections were cut' if cuts else 'then all of it did'}"
    return fault


def commit(kind, words):
    def fault(world, dice):
        with held(world.trap_lock):
            trap = Trap(kind, dice.uniform(0.3, 3))
            for slot in world.everybody:
                slot.route.postgres.trap = trap
            trap.sprung.wait(8)
            if trap.is_open:
                trap.is_open = False
                return None
            return words if trap.sprung.wait(5) else None
    return fault


# Kafka.


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
