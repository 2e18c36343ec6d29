"""Faults of PostgreSQL: what a crash, an administrator and other people's sessions do to an instance's."""
import time

from occasions import held
from postgres import Client, PostgresError

SESSIONS = "FROM pg_stat_activity WHERE application_name LIKE 'tidemark%' AND datname = current_database()"


def postgres_crash(world, dice):
    with held(world.postgres_lock):
        seconds = dice.uniform(12, 20) if dice.random() < 0.2 else dice.uniform(0, 3)
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
                f"WITH chosen AS MATERIALIZED (SELECT pid, application_name, left(query, 40) AS doing {SESSIONS} "
                "AND xact_start IS NOT NULL AND state <> 'idle' AND query NOT LIKE 'SET%' LIMIT 1) "
                "SELECT application_name, doing FROM chosen WHERE pg_terminate_backend(pid)")
        except PostgresError:
            done = []
        if done:
            return f"session of {done[0][0]} terminated at: {' '.join(done[0][1].split())}"
    return None


def statement_cancelled(world, dice):
    """pg_cancel_backend of a statement that runs."""
    end = time.monotonic() + 6
    while time.monotonic() < end:
        try:
            done = world.watcher.query(
                f"WITH chosen AS MATERIALIZED (SELECT pid, application_name, left(query, 40) AS doing {SESSIONS} AND state = 'active' LIMIT 1) "
                "SELECT application_name, doing FROM chosen WHERE pg_cancel_backend(pid)")
        except PostgresError:
            done = []
        if done:
            return f"statement of {done[0][0]} cancelled: {' '.join(done[0][1].split())}"
    return None


def locked(what, statements):
    """Somebody else's transaction holds a lock that flushes need; beyond 10 s they give up waiting."""
    def fault(world, dice):
        seconds = dice.uniform(11, 14) if dice.random() < 0.3 else dice.uniform(2, 7)
        with held(world.lock_lock):
            try:
                client = connect(world)
                try:
                    client.query("BEGIN READ WRITE")
                    client.query(statements)
                    time.sleep(seconds)
                    client.query("ROLLBACK")
                finally:
                    client.close()
            except (OSError, PostgresError):
                # The server crashed meanwhile.
                return None
        return f"{what} locked by somebody else for {seconds:.1f} s"
    return fault


def connect(world, seconds=8):
    """A connection, as soon as one can be had."""
    end = time.monotonic() + seconds
    while True:
        try:
            return Client(world.server.port, world.database, timeout=30)
        except (OSError, PostgresError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def connections_exhausted(world, dice):
    """No connection is left, and those of the instances are ended."""
    with held(world.postgres_lock):
        clients = []
        seconds = dice.uniform(2, 6)
        try:
            fill(world, clients)
            clients[0].query(f"SELECT pg_terminate_backend(pid) {SESSIONS}")
            fill(world, clients)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.1)
                fill(world, clients)
        finally:
            for client in clients:
                client.close()
        return f"every connection of PostgreSQL taken by somebody else for {seconds:.1f} s"


def fill(world, clients):
    try:
        while True:
            clients.append(Client(world.server.port, world.database))
    except (OSError, PostgresError):
        if not clients:
            raise


def read_only(world, dice):
    """What hosted PostgreSQL does when its storage is nearly full."""
    with held(world.postgres_lock):
        seconds = dice.uniform(2, 7)
        client = Client(world.server.port, world.database)
        try:
            client.query("SET default_transaction_read_only = off")
            client.query("ALTER SYSTEM SET default_transaction_read_only = on")
            client.query("SELECT pg_reload_conf()")
            time.sleep(seconds)
        finally:
            client.query("ALTER SYSTEM RESET default_transaction_read_only")
            client.query("SELECT pg_reload_conf()")
            client.close()
        return f"PostgreSQL was read-only for {seconds:.1f} s"
