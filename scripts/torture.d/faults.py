"""All kinds of faults, and which of them come when.

A fault is a function of the world and of dice that were seeded before the round began; it says what it did, or None if it
had no occasion (then it is not counted). Each runs in a thread of its own.
"""
import random

import database_faults as of_database
import instance_faults as of_instances
import server_faults as of_servers
from server_faults import ERRORS

PROCESSES = {
    "kill -9": of_instances.kill_9, "SIGSTOP, SIGCONT": of_instances.stopped, "SIGTERM, restart": of_instances.terminated,
    "fourth instance": of_instances.joined_and_left, "SIGTERM, SIGTERM": of_instances.ended_in_a_hurry, "all killed": of_instances.all_killed,
    "SIGTERM, cut off": of_instances.terminated_in_the_dark,
}
JOURNALS = {
    "journal deleted": of_instances.journal_deleted, "journal cut": of_instances.journal_cut, "journal bit flipped": of_instances.journal_flipped,
}
DISKS = {"disk full": of_instances.disk_full}
POSTGRES = {
    "PostgreSQL crash": of_database.postgres_crash, "session terminated": of_database.backend_terminated,
    "statement cancelled": of_database.statement_cancelled, "connections exhausted": of_database.connections_exhausted,
    "PostgreSQL read-only": of_database.read_only,
    "rows locked": of_database.locked("offset rows", "SELECT count(*) FROM (SELECT FROM tidemark.partition WHERE partition % 2 = 0 FOR UPDATE) p"),
    "landing locked": of_database.locked("landing's offset rows", "SELECT count(*) FROM (SELECT FROM tidemark.landing WHERE partition % 2 = 1 FOR UPDATE) p"),
    "table locked": of_database.locked("analytics.daily_metrics", "LOCK TABLE analytics.daily_metrics IN ACCESS EXCLUSIVE MODE"),
    "PostgreSQL cut": of_servers.cut("postgres", "PostgreSQL"), "PostgreSQL slow": of_servers.slow("postgres", "PostgreSQL"),
    "PostgreSQL blackhole": of_servers.blackhole("postgres", "PostgreSQL"),
    "COMMIT answer lost": of_servers.commit("answer", "PostgreSQL committed; the answer to COMMIT was not passed on, the connection cut"),
    "COMMIT answer silent": of_servers.commit("silence", "PostgreSQL committed; the answer to COMMIT never came, the connection was cut later"),
    "COMMIT lost": of_servers.commit("request", "COMMIT was not passed on, the connection cut"),
    "COMMIT late": of_servers.commit("late", "the client was cut at its COMMIT, which reached PostgreSQL later"),
}
NETWORK = {
    "Kafka cut": of_servers.cut("kafka", "Kafka"), "Kafka slow": of_servers.slow("kafka", "Kafka"),
    "Kafka blackhole": of_servers.blackhole("kafka", "Kafka"),
}
BROKER = {
    "broker error": of_servers.broker_error, "broker drop": of_servers.broker_drop, "broker down": of_servers.broker_down,
    "broker slow": of_servers.broker_slow, "leader moved": of_servers.leader_moved,
    "coordinator moved": of_servers.coordinator_moved,
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
