"""The log of what was done when, and the summary."""
import collections
import json
import time

from freshness import summary


# Rounds of a run in which every kind of fault has to come.
LONG_RUN = 8


class Log:
    """Lines with the time of day, on standard error and in a file."""

    def __init__(self, path, write):
        self.file, self.write = open(path, "a"), write

    def say(self, text):
        line = f"{time.strftime('%H:%M:%S')} {text}"
        self.file.write(line + "\n")
        self.file.flush()
        self.write(line)


def seconds(value):
    return "-" if value is None else f"{value:.2f}"


def gather(campaign, rounds):
    """Everything as plain values."""
    valid = [r for r in rounds if r.void is None]
    done, missed, repeats = collections.Counter(), collections.Counter(), collections.Counter()
    for r in valid:
        done.update(r.done)
        missed.update(r.missed)
        repeats.update(dict(r.repeats or []))
    recoveries = [r.recovery for r in valid if r.recovery is not None]
    return {
        "seed": campaign.seed, "rounds": len(valid), "void_rounds": [{"round": r.number, "why": r.void} for r in rounds if r.void],
        "events": sum(r.offsets or 0 for r in valid), "faults": dict(done), "faults_total": sum(done.values()), "kinds": len(done),
        # In a long run every kind has had its occasions: one that never came tests nothing.
        "never_came": [kind for kind in campaign.kinds if not done[kind]] if len(valid) >= LONG_RUN else [],
        "no_occasion": dict(missed), "kinds_left_out": campaign.left_out,
        "differences": [f"round {r.number}: {line}" for r in rounds for line in (r.world.differences if r.void is None else [])],
        "planted_differences_missed": campaign.missed_plants, "planted_differences": campaign.plants,
        "freshness_seconds": {
            "during_faults": summary([a for r in valid for a in r.during]), "after": summary([a for r in valid for a in r.after]),
            "recovery": {"longest": max(recoveries, default=None), "median": sorted(recoveries)[len(recoveries) // 2] if recoveries else None},
        },
        "longest_drain_seconds": max((d for r in valid for d in r.world.drains), default=None),
        "minutes": round(campaign.minutes_used(), 1), "logs": campaign.directory if campaign.keeps else None,
        "messages_said_most": repeats.most_common(12),
    }


def table(result):
    """The summary for people."""
    lines = [f"{'fault':<22}{'count':>6}", "-" * 28]
    lines += [f"{kind:<22}{count:>6}" for kind, count in sorted(result["faults"].items(), key=lambda item: (-item[1], item[0]))]
    lines += ["-" * 28, f"{str(result['kinds']) + ' kinds':<22}{result['faults_total']:>6}", ""]
    fresh = result["freshness_seconds"]
    lines += [f"{'age of the newest visible event, s':<36}{'p50':>8}{'p99':>8}{'max':>8}"]
    for name, key in (("while faults came", "during_faults"), ("after", "after")):
        lines.append(f"{name:<36}{seconds(fresh[key]['p50']):>8}{seconds(fresh[key]['p99']):>8}{seconds(fresh[key]['max']):>8}")
    lines += [
        f"fresh again after the last fault: median {seconds(fresh['recovery']['median'])} s, longest {seconds(fresh['recovery']['longest'])} s; "
        f"longest drain {seconds(result['longest_drain_seconds'])} s", ""]
    lines += [f"round {v['round']} is void: {v['why']}" for v in result["void_rounds"]]
    lines += [f"left out: {kind}: {why}" for kind, why in result["kinds_left_out"].items()]
    lines += [f"never came: {kind}" for kind in result["never_came"]]
    lines += [f"a planted difference was not found: {name}" for name in result["planted_differences_missed"]]
    lines += result["differences"][:40]
    if result["planted_differences"]:
        found = result["planted_differences"] - len(result["planted_differences_missed"])
        lines.append(f"{found} of {result['planted_differences']} planted differences found")
    lines.append(
        f"seed {result['seed']}: {result['minutes']} minutes, {result['rounds']} rounds, {result['events']:,} events, {result['faults_total']} faults "
        f"of {result['kinds']} kinds, {len(result['differences'])} differences")
    return "\n".join(lines)


def write_json(result, path):
    with open(path, "w") as file:
        json.dump(result, file, indent=2, sort_keys=True)
        file.write("\n")
