"""What has to hold after a round. Every check gives the differences that it found, as lines; none means that all is well.

`prove` plants one difference after another into copies of a good database and sees that each is found: a check that cannot
fail proves nothing.
"""
import subprocess

from postgres import Client

ROUGH_TIMES = [
    "stale", "events_down", "refresh_failed", "refresh_late", "reconciliation_difference", "lag_growing", "quarantine_rate", "slow_query",
    "storage_growth", "storage_full", "fenced_repeatedly", "channel_failing",
]


def joints(ledger):
    """Where a range does not begin at the end of the one before."""
    return f"""
        SELECT topic, partition, from_offset, before FROM (
          SELECT topic, partition, from_offset, COALESCE(lag(to_offset) OVER w, 0) AS before
            FROM {ledger} WINDOW w AS (PARTITION BY topology, topic, partition ORDER BY from_offset)) l
         WHERE before <> from_offset"""


BOOKS = {
    "the ledger has neither holes nor overlaps, and begins at 0": joints("tidemark.ledger"),
    "every offset is in one bucket": """
        SELECT topic, partition, from_offset, to_offset FROM tidemark.ledger
         WHERE to_offset - from_offset <> applied + filtered + duplicate + late + quarantined + gap""",
    # (The broker's own word for the log's end is what the last instance of a round waits for.)
    "next_offset is the ledger's end, and not short of the log's": """
        SELECT p.topic, p.partition, p.next_offset, p.end_offset, max(l.to_offset) FROM tidemark.partition p
          LEFT JOIN tidemark.ledger l USING (topology, topic, partition) GROUP BY p.topology, p.topic, p.partition
        HAVING p.next_offset IS DISTINCT FROM COALESCE(max(l.to_offset), 0) OR p.next_offset < p.end_offset""",
    "nothing is booked as a gap": "SELECT topic, partition, from_offset, to_offset, gap, instance FROM tidemark.ledger WHERE gap > 0",
    "epochs and watermarks never go back along the log": """
        SELECT topic, partition, from_offset, epoch, before, watermark_before, mark FROM (
          SELECT *, lag(epoch) OVER w AS before, lag(watermark_after) OVER w AS mark
            FROM tidemark.ledger WINDOW w AS (PARTITION BY topology, topic, partition ORDER BY from_offset)) l
         WHERE epoch < before OR watermark_after < watermark_before OR watermark_before IS DISTINCT FROM mark""",
    "the quarantine holds what each flush has booked": """
        SELECT l.topic, l.partition, l.from_offset, l.to_offset, l.late + l.quarantined - l.quarantine_omitted, count(q."offset")
          FROM tidemark.ledger l LEFT JOIN tidemark.quarantine q ON (q.topology, q.topic, q.partition) = (l.topology, l.topic, l.partition)
           AND q."offset" >= l.from_offset AND q."offset" < l.to_offset
         GROUP BY l.topology, l.topic, l.partition, l.from_offset
        HAVING l.late + l.quarantined - l.quarantine_omitted <> count(q."offset")""",
    "landing: the ledger has neither holes nor overlaps, and begins at 0": joints("tidemark.landing_ledger"),
    "landing: next_offset is the ledger's end, and where the stream ended": """
        SELECT p.topic, p.partition, p.next_offset, s.next_offset, max(l.to_offset) FROM tidemark.landing p
          LEFT JOIN tidemark.partition s USING (topology, topic, partition) LEFT JOIN tidemark.landing_ledger l USING (topology, topic, partition)
         GROUP BY p.topology, p.topic, p.partition, s.next_offset
        HAVING p.next_offset IS DISTINCT FROM COALESCE(max(l.to_offset), 0) OR p.next_offset IS DISTINCT FROM s.next_offset""",
    # Offsets that hold no event are the empty messages that the stream has counted.
    "landing: each offset is landed, refused or empty, once, as the ledgers say": """
        SELECT p.topic, p.partition, p.next_offset, l.landed, l.refused, l.empty, s.tombstones, e.landed, e.refused, e.offsets, e.within_holes
          FROM tidemark.landing p
          JOIN (SELECT topology, topic, partition, sum(landed) AS landed, sum(quarantined) AS refused, sum(hole_count) AS empty
                  FROM tidemark.landing_ledger GROUP BY 1, 2, 3) l USING (topology, topic, partition)
          JOIN (SELECT topology, topic, partition, sum(tombstones) AS tombstones FROM tidemark.ledger GROUP BY 1, 2, 3) s
         USING (topology, topic, partition)
          JOIN (SELECT topology, topic, partition, count(*) FILTER (WHERE is_landed) AS landed, count(*) FILTER (WHERE NOT is_landed) AS refused,
                       count(DISTINCT "offset") AS offsets, count(*) FILTER (WHERE "offset" <@ holes) AS within_holes
                  FROM (SELECT topology, topic, partition, "offset", true AS is_landed FROM raw.events UNION ALL
                        SELECT topology, topic, partition, "offset", false FROM tidemark.landing_quarantine) all_of_them
                  JOIN (SELECT topology, topic, partition, range_agg(holes) AS holes FROM (
                          SELECT topology, topic, partition, unnest(holes) AS holes FROM tidemark.landing_ledger UNION ALL
                          SELECT topology, topic, partition, int8range(0, 0) FROM tidemark.landing) ranges GROUP BY 1, 2, 3) h
                 USING (topology, topic, partition) WHERE "offset" >= 0 GROUP BY 1, 2, 3) e USING (topology, topic, partition)
         WHERE (e.landed, e.refused, s.tombstones) IS DISTINCT FROM (l.landed, l.refused, l.empty) OR e.within_holes <> 0
            OR (e.offsets, e.landed + e.refused + l.empty) IS DISTINCT FROM (e.landed + e.refused, p.next_offset)""",
    "no row was rejected": "SELECT aggregate, window_start, key, message FROM tidemark.rejected_row",
    # What operators are told of a rough time (late, slow, much refused) is true here, and no difference.
    "no partition was stopped or lost what it needs": f"""
        SELECT topic, partition, kind, message FROM tidemark.alert WHERE kind NOT IN ({', '.join(f"'{kind}'" for kind in ROUGH_TIMES)})""",
    "nobody owns a partition any more": """
        SELECT topic, partition, owner FROM tidemark.partition WHERE owner IS NOT NULL UNION ALL
        SELECT topic, partition, owner FROM tidemark.landing WHERE owner IS NOT NULL""",
}


def rows(binary, target, expected):
    """Rows, late counts, quarantine and ledger totals against what `generate --expect` computed."""
    done = subprocess.run(
        [binary, "compare-expected", expected, "--postgres", target], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return []
    if done.returncode == 3:
        return [f"rows: {line}" for line in done.stdout.splitlines()]
    return [f"compare-expected ended with exit code {done.returncode}: {done.stderr.strip()}"]


def books(port, database, but=()):
    client = Client(port, database, timeout=60)
    try:
        found = []
        for name, sql in BOOKS.items():
            if name not in but:
                found += [f"{name}: not here: {', '.join(str(v) for v in row)}" for row in client.query(sql)]
        return found
    finally:
        client.close()


def all_differences(binary, server, database, expected):
    return rows(binary, target(server, database), expected) + books(server.port, database)


def target(server, database, port=None):
    return f"host=127.0.0.1 port={port or server.port} dbname={database} user=postgres sslmode=disable gssencmode=disable"


PLANTED = {
    "a row that is one too high": "UPDATE analytics.daily_metrics SET event_count = event_count + 1 WHERE ctid = (SELECT min(ctid) FROM analytics.daily_metrics)",
    "a row that is missing": "DELETE FROM analytics.daily_metrics WHERE ctid = (SELECT max(ctid) FROM analytics.daily_metrics)",
    "a flush that the ledger forgot": "DELETE FROM tidemark.ledger WHERE ctid = (SELECT max(ctid) FROM tidemark.ledger)",
    "a flush that is booked twice": """
        INSERT INTO tidemark.ledger SELECT topology, topic, partition, to_offset - 1, to_offset, 1, 0, 0, 0, 0, 0, 0, 0, 0, watermark_after,
          watermark_after, earliest, latest, epoch, instance, flushed_at FROM tidemark.ledger WHERE to_offset - from_offset > 1 LIMIT 1""",
    "an event booked as a gap": "UPDATE tidemark.ledger SET applied = applied - 1, gap = gap + 1 WHERE ctid = (SELECT min(ctid) FROM tidemark.ledger WHERE applied > 0)",
    "an offset that ran ahead": "UPDATE tidemark.partition SET next_offset = next_offset + 1 WHERE partition = 0",
    "a flush of a fenced epoch": "UPDATE tidemark.ledger SET epoch = epoch + 1000 WHERE partition = 0 AND from_offset = 0",
    "a refused event that is gone": "DELETE FROM tidemark.quarantine WHERE ctid = (SELECT min(ctid) FROM tidemark.quarantine)",
    "a refused event under another reason": "UPDATE tidemark.quarantine SET reason = 'other' WHERE ctid = (SELECT min(ctid) FROM tidemark.quarantine)",
    "a partition that was stopped": """
        INSERT INTO tidemark.alert (topology, topic, partition, kind, message)
        SELECT topology, topic, partition, 'offset_out_of_range', 'planted' FROM tidemark.partition LIMIT 1""",
    "a batch that landing's ledger forgot": "DELETE FROM tidemark.landing_ledger WHERE ctid = (SELECT max(ctid) FROM tidemark.landing_ledger)",
    "a landed event booked as a hole": """
        UPDATE tidemark.landing_ledger SET landed = landed - 1, hole_count = hole_count + 1
         WHERE ctid = (SELECT min(ctid) FROM tidemark.landing_ledger WHERE landed > 0)""",
    "an offset of landing that ran ahead": "UPDATE tidemark.landing SET next_offset = next_offset + 1 WHERE partition = 0",
    "a landed event that is gone": """
        DO $$ BEGIN EXECUTE (
          SELECT format('DELETE FROM raw.%I WHERE (topic, partition, "offset") = (%L, %s, %s)', 'events_' || translate(topology, '-', '_'), topic, partition, "offset")
            FROM raw.events LIMIT 1);
        END $$""",
    "a late count that is one too high": "UPDATE tidemark.late_count SET late = late + 1 WHERE ctid = (SELECT min(ctid) FROM tidemark.late_count)",
}


def prove(binary, server, database, expected):
    """Names of planted differences that were not found."""
    missed = []
    for number, (name, sql) in enumerate(PLANTED.items()):
        copy = f"planted_{number}"
        admin = Client(server.port, "postgres", timeout=60)
        try:
            admin.query(f"CREATE DATABASE {copy} TEMPLATE {database}")
            client = Client(server.port, copy)
            client.query(sql)
            client.close()
            if not all_differences(binary, server, copy, expected):
                missed.append(name)
            admin.query(f"DROP DATABASE {copy} WITH (FORCE)")
        finally:
            admin.close()
    return missed
