/// One family of metrics: its name, type, labels and meaning. Names are stable: rules and dashboards rely on them.
public struct Metric: Sendable, Equatable {
  public enum Kind: String, Sendable { case counter, gauge, histogram }
  public var name: String
  public var type: Kind
  /// In the order of samples.
  public var labels: [String]
  public var help: String

  init(_ name: String, _ type: Kind, _ labels: [String], _ help: String) {
    self.name = name; self.type = type; self.labels = labels; self.help = help
  }

  private static let one = ["topology"]
  private static let partition = ["topology", "topic", "partition"]

  static let build = Metric("tidemark_build_info", .gauge, ["version", "instance"], "Always 1; what runs here.")
  static let alive = Metric("tidemark_alive", .gauge, [], "1: every thread shows signs of life, as /healthz says.")
  static let ready = Metric("tidemark_ready", .gauge, [], "1: assigned, PostgreSQL reachable, within its lag budget, as /readyz says.")
  static let postgresUp = Metric("tidemark_postgres_up", .gauge, one, "1: PostgreSQL does what the instance asks it for.")
  static let phase = Metric("tidemark_run_phase", .gauge, ["topology", "phase"], "1 for the phase that the run is in: opening, joining, running, draining, ended.")

  static let events = Metric(
    "tidemark_events_total", .counter, ["topology", "bucket"],
    "Offsets folded here since the start, by the one bucket of the ledger that each is in.")
  static let tombstones = Metric("tidemark_tombstones_total", .counter, one, "Null payloads, a part of the bucket filtered.")
  static let misrouted = Metric("tidemark_misrouted_events_total", .counter, one, "Events whose Kafka key is not the partition key's value.")
  static let flushedOffsets = Metric("tidemark_flushed_offsets_total", .counter, one, "Offsets that this instance has moved in PostgreSQL.")
  static let rows = Metric("tidemark_flushed_rows_total", .counter, ["topology", "aggregate"], "Rows that flushes have added to, once a flush.")

  static let eventAge = Metric(
    "tidemark_event_visible_seconds", .histogram, one, "From an event's own time until it was visible in PostgreSQL; events that were applied or duplicate.")
  static let recordAge = Metric(
    "tidemark_record_visible_seconds", .histogram, one, "From a record's Kafka timestamp until what it does was visible in PostgreSQL; every record.")

  static let flushes = Metric("tidemark_flushes_total", .counter, one, "Transactions committed.")
  static let retries = Metric("tidemark_flush_retries_total", .counter, one, "Flushes tried once more, or looked up after a COMMIT without an answer.")
  static let flushTime = Metric("tidemark_flush_seconds", .histogram, one, "Length of a committed flush, from BEGIN to the answer to COMMIT.")
  static let lastFlush = Metric("tidemark_last_flush_timestamp_seconds", .gauge, one, "When the last flush was committed; absent before the first.")
  static let fenced = Metric("tidemark_fenced_partitions_total", .counter, one, "Partitions that turned out to belong to another instance.")
  static let waiting = Metric("tidemark_waiting_requests", .gauge, ["topology", "thread"], "What waits for a thread: sets of records for worker, requests for store.")

  static let partitions = Metric("tidemark_partitions", .gauge, ["topology", "phase"], "Assigned partitions by phase.")
  static let lagEvents = Metric(
    "tidemark_partition_lag_events", .gauge, partition, "Offsets between what is in PostgreSQL and the partition's end; absent where the end is not known.")
  static let lagSeconds = Metric(
    "tidemark_partition_lag_seconds", .gauge, partition, "Age of the newest record in PostgreSQL, 0 where all are; absent while not known.")
  static let nextOffset = Metric("tidemark_partition_next_offset", .gauge, partition, "Everything below is in PostgreSQL.")
  static let endOffset = Metric("tidemark_partition_end_offset", .gauge, partition, "The offset that the next message will get, as last heard.")
  static let watermark = Metric("tidemark_partition_watermark_timestamp_seconds", .gauge, partition, "Greatest accepted event time.")
  static let paused = Metric("tidemark_paused", .gauge, ["topology", "reason"], "1: partitions wait; for memory or the journal's budget, or for a full disk.")
  static let rebalances = Metric("tidemark_rebalances_total", .counter, ["topology", "kind"], "Times that the group assigned, revoked, or gave away partitions.")
  static let moved = Metric("tidemark_rebalanced_partitions_total", .counter, ["topology", "kind"], "Partitions assigned, revoked, lost.")

  static let journalDisk = Metric("tidemark_journal_disk_bytes", .gauge, one, "Bytes of the journal's files.")
  static let journalUnflushed = Metric("tidemark_journal_unflushed_bytes", .gauge, one, "Bytes of the journal that PostgreSQL does not have yet.")
  static let journalWritten = Metric("tidemark_journal_written_bytes_total", .counter, one, "Bytes written to the journal, snapshots among them.")
  static let journalSyncs = Metric("tidemark_journal_syncs_total", .counter, one, "Times that the journal was forced to the disk.")
  static let stage = Metric("tidemark_stage_seconds_total", .counter, ["topology", "stage"], "CPU seconds by stage; flush is time, most of it PostgreSQL's.")

  static let memory = Metric(
    "tidemark_memory_bytes", .gauge, ["topology", "part"], "Memory by what it holds: pending (waits for PostgreSQL), groups, members, identifiers; about.")
  static let groups = Metric("tidemark_aggregate_groups", .gauge, ["topology", "aggregate"], "Rows of open windows held here.")
  static let overflowed = Metric(
    "tidemark_aggregate_overflowed_events", .gauge, ["topology", "aggregate"], "Events in the row __overflow__ since their partitions were taken over.")

  static let openAlerts = Metric("tidemark_open_alerts", .gauge, ["kind"], "Open alerts in PostgreSQL, of all topologies.")
  static let reconciled = Metric(
    "tidemark_reconciliation_timestamp_seconds", .gauge, one, "When the last reconciliation ended; absent where there was none.")
  static let unexplained = Metric("tidemark_reconciliation_unexplained_differences", .gauge, one, "Unexplained differences that the last reconciliation found.")
  static let completeThrough = Metric(
    "tidemark_aggregate_complete_through_timestamp_seconds", .gauge, ["topology", "aggregate"], "Windows that end before this are final; of all instances.")

  static let requests = Metric("tidemark_http_requests_total", .counter, ["path", "code"], "Requests answered.")
  static let eventClients = Metric("tidemark_http_event_clients", .gauge, [], "Clients of /events.")
  static let dropped = Metric("tidemark_http_dropped_clients_total", .counter, [], "Clients of /events that were too slow.")

  static let cpu = Metric("process_cpu_seconds_total", .counter, [], "CPU seconds of the process.")
  static let resident = Metric("process_resident_memory_bytes", .gauge, [], "Resident memory of the process.")
  static let files = Metric("process_open_fds", .gauge, [], "Open files of the process.")
  static let started = Metric("process_start_time_seconds", .gauge, [], "When the process began.")

  /// All, in the order of `/metrics`.
  public static let all: [Metric] = [
    build, alive, ready, postgresUp, phase, events, tombstones, misrouted, flushedOffsets, rows, eventAge, recordAge, flushes, retries, flushTime,
    lastFlush, fenced, waiting, partitions, lagEvents, lagSeconds, nextOffset, endOffset, watermark, paused, rebalances, moved, journalDisk,
    journalUnflushed, journalWritten, journalSyncs, stage, memory, groups, overflowed, openAlerts, reconciled, unexplained, completeThrough,
    requests, eventClients, dropped, cpu, resident, files, started,
  ]
}
