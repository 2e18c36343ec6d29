"""Real processes, killed for real: three instances, two that land, librdkafka, PostgreSQL, a broker, and everything that can happen to them.

Installs what is missing, builds the release, and runs rounds until the time is up. In each round they consume a
seeded stream with late, duplicate, invalid, far-future and empty events while faults come at seeded times; then the faults
stop, everything catches up and ends, and every row, every ledger entry and every refused event is held against what
`tidemark generate --expect` computed. The seed decides load and faults: what is done, when, and to whom.
"""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True

EXAMPLES = """
EXAMPLES
  scripts/torture --minutes 5
  scripts/torture --minutes 30 --json torture.json
  scripts/torture --seed 42 --round 3                  one round again
  scripts/torture --minutes 10 --only "kill -9" --only "COMMIT late"
  TIDEMARK_KAFKA=localhost:9092 scripts/torture        your broker; what the development broker does on demand is left out

EXIT CODES
  0 no difference, 3 differences (all logs are kept, and named), 64 usage, 69 a server cannot be had
"""


def options():
    parser = argparse.ArgumentParser(
        prog="scripts/torture", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5, help="how long rounds are begun (default: 5)")
    parser.add_argument("--seed", type=int, help="of everything that is random (default: a new one, printed)")
    parser.add_argument("--round", type=int, help="run this round of the seed alone")
    parser.add_argument("--seconds", type=int, default=75, help="of load in a round, 30 to 120 (default: 75)")
    parser.add_argument("--rate", type=int, default=1500, help="events a second (default: 1500)")
    parser.add_argument("--partitions", type=int, default=8, help="of the topic (default: 8)")
    parser.add_argument("--every", type=float, default=2.6, help="seconds from fault to fault, on average (default: 2.6)")
    parser.add_argument("--only", action="append", metavar="FAULT", help="only this kind of fault; may be repeated; --list names them")
    parser.add_argument("--list", action="store_true", help="name the kinds of faults")
    parser.add_argument("--json", metavar="FILE", help="write the summary there, too")
    parser.add_argument("--keep", action="store_true", help="keep the logs even if all is well")
    parser.add_argument("--no-build", action="store_true", help="take the release that is there")
    chosen = parser.parse_args()
    if not 30 <= chosen.seconds <= 120:
        parser.error(f"--seconds {chosen.seconds}: expected 30 to 120")
    if chosen.minutes <= 0 or chosen.rate < 1 or chosen.every <= 0 or chosen.partitions < 1:
        parser.error("--minutes, --rate, --every and --partitions: expected more than 0")
    # The development broker forgets what is beyond 5 MB or 100,000 messages of a partition.
    if chosen.rate * chosen.seconds / chosen.partitions > 20_000 and not os.environ.get("TIDEMARK_KAFKA"):
        parser.error(
            f"{chosen.rate * chosen.seconds} events a round are more than the development broker keeps in {chosen.partitions} partitions: "
            "lower --rate or --seconds")
    return parser, chosen


def alone(arguments):
    """Begins anew with file systems of its own, so that what is mounted here goes with this process."""
    if os.environ.get("TORTURE_ALONE") or os.getuid() != 0 or not shutil.which("unshare"):
        return
    probe = subprocess.run(["unshare", "--mount", "--propagation", "private", "true"], check=False, stderr=subprocess.DEVNULL)
    if probe.returncode == 0:
        os.environ["TORTURE_ALONE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, os.path.abspath(__file__)] + arguments)


class Campaign:
    """All rounds of one seed."""

    def __init__(self, chosen, directory, binary):
        import faults
        import postgres
        import proxies
        import report
        self.chosen, self.directory, self.binary = chosen, directory, binary
        self.seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1 << 32)
        self.name = f"{self.seed}-{os.getpid()}"
        self.kafka = os.environ.get("TIDEMARK_KAFKA")
        self.can_mount = bool(os.environ.get("TORTURE_ALONE"))
        self.begin, self.keeps, self.plants, self.missed_plants = time.monotonic(), True, 0, []
        self.log = report.Log(f"{directory}/log", lambda line: print(line, file=sys.stderr, flush=True))
        self.server, self.loop = postgres.Server(f"{directory}/postgres"), proxies.Loop()
        self.kinds, self.left_out = self.choose(faults)

    def choose(self, faults):
        import world
        wanted = set(self.chosen.only or faults.ALL)
        left_out = {}
        if not self.can_mount:
            left_out.update({kind: "needs root and mount namespaces" for kind in faults.DISKS})
        if self.kafka:
            left_out.update({kind: "only the development broker does it on demand" for kind in faults.BROKER})
            if not world.is_local(self.kafka):
                left_out.update({kind: "the broker's address is not on the loopback" for kind in faults.NETWORK})
        return sorted(wanted - set(left_out)), {k: w for k, w in left_out.items() if k in wanted}

    def minutes_used(self):
        return (time.monotonic() - self.begin) / 60

    def one(self, number):
        import faults
        import rounds
        shape = rounds.shape_of(self.seed, number, self.chosen.seconds, self.chosen.rate, self.chosen.partitions)
        kinds = [k for k in self.kinds if shape["brokers"] > 1 or k not in ("leader moved", "coordinator moved")]
        fault_seconds = self.chosen.seconds - rounds.CALM_SECONDS
        # The last faults take their time, too.
        planned = faults.plan(f"{self.seed}/{number}/faults", kinds, fault_seconds - 6, self.chosen.every)
        return rounds.Round(self, number, shape, planned, fault_seconds).run()

    def run(self):
        import checks
        finished = []
        numbers = [self.chosen.round] if self.chosen.round is not None else range(1, 10_000)
        longest = 0.0
        for number in numbers:
            began = self.minutes_used()
            finished.append(self.one(number))
            last = finished[-1]
            if last.void:
                last.say(f"void: {last.void}")
            for line in last.world.differences if not last.void else []:
                last.say(f"DIFFERENCE: {line}")
            longest = max(longest, self.minutes_used() - began)
            if self.chosen.round is None and self.minutes_used() + longest > self.chosen.minutes + 0.1:
                break
        good = [r for r in finished if r.void is None and not r.world.differences]
        if good:
            world = good[-1].world
            self.plants = len(checks.PLANTED)
            self.missed_plants = checks.prove(world.binary, world.server, world.database, world.expected)
        return finished

    def close(self):
        self.server.close()
        if not self.keeps:
            shutil.rmtree(self.directory, ignore_errors=True)


def main():
    parser, chosen = options()
    import faults
    if chosen.list:
        print("\n".join(faults.ALL))
        return 0
    for kind in chosen.only or []:
        if kind not in faults.ALL:
            parser.error(f"--only {kind}: no such fault; --list names them")
    alone(sys.argv[1:])
    import postgres
    import report
    if not chosen.no_build:
        subprocess.run(["swift", "build", "-c", "release", "--product", "tidemark"], cwd=ROOT, check=True, stdout=sys.stderr)
    # Ended from outside it still ends what it began.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    directory = tempfile.mkdtemp(prefix="tidemark-torture-")
    os.chmod(directory, 0o755)
    try:
        # A copy: whoever builds meanwhile does not disturb.
        binary = shutil.copy2(f"{ROOT}/.build/release/tidemark", f"{directory}/under-test")
        campaign = Campaign(chosen, directory, binary)
    except (postgres.PostgresError, OSError) as error:
        print(f"torture: {error}", file=sys.stderr)
        return 69
    campaign.log.say(f"seed {campaign.seed}, {len(campaign.kinds)} kinds of faults, {chosen.minutes:g} minutes; logs in {directory}")
    try:
        finished = campaign.run()
        result = report.gather(campaign, finished)
        voids = len(result["void_rounds"])
        failed = bool(result["differences"] or result["planted_differences_missed"] or result["never_came"] or voids * 2 > len(finished))
        campaign.keeps = chosen.keep or failed or voids > 0
        result["logs"] = directory if campaign.keeps else None
        print(report.table(result), flush=True)
        if chosen.json:
            report.write_json(result, chosen.json)
        if campaign.keeps:
            print(f"logs: {directory}", file=sys.stderr)
        return 3 if failed else 0
    finally:
        campaign.close()


if __name__ == "__main__":
    sys.exit(main())
