import CRdKafka

/// What a poll found.
public enum ConsumerEvent: Sendable {
  case records(RecordSet)
  /// Everything below the offset has been delivered.
  case endOfPartition(TopicPartition, Int64)
  /// To be answered by `assign`, once, with any of them or none: what is left out can be assigned later, by a call of its own.
  /// Until the answer fetching of all partitions stands still, and the group's next change waits.
  case assigned([TopicPartition])
  /// To be answered by `unassign`, once, now or later.
  case revoked([TopicPartition])
  /// Given away already; `unassign` has been called.
  case lost([TopicPartition])
  case offsetOutOfRange(TopicPartition, String)
  case topicMissing(String)
  /// Passing trouble; librdkafka goes on trying.
  case error(String)
  /// The consumer cannot go on (fenced static member, unsupported feature).
  case fatal(String)
}

/// A consumer in a group, driven by the one thread that polls it.
///
/// The rebalance callback decides nothing and never blocks: it is reported as an event and answered later by the same
/// thread. Until then librdkafka waits (it keeps the session alive as long as somebody polls), which is how offsets can
/// come from PostgreSQL without a wait inside the callback.
public final class Consumer {
  private let handle: RdKafkaHandle
  private let queue: OpaquePointer
  private let box: EventBox
  private var buffer: [UnsafeMutablePointer<rd_kafka_message_t>?]
  private let mostMessages: Int
  private var missing: Set<String> = []
  /// What is assigned: the next offset to be delivered of each.
  private var positions: [TopicPartition: Int64] = [:]
  /// Offsets that were out of range, by the last poll.
  private var outOfRange: [TopicPartition: Int64] = [:]
  /// A revocation is not answered yet.
  private var isAskedBack = false
  private var paused: Set<TopicPartition> = []
  /// Passing errors since the start.
  public private(set) var errorCount = 0

  private final class EventBox {
    var events: [ConsumerEvent] = []
    /// Closing waits for the answers to its own callbacks: they are given at once.
    var isClosing = false
    /// The newest offsets that wait to be acknowledged.
    var acknowledging: [TopicPartition: Int64] = [:]
  }

  /// - Parameters:
  ///   - instanceID: `group.instance.id` for static membership.
  ///   - mostMessages: most messages that one poll returns.
  public init(
    _ settings: KafkaSettings, group: String, topics: [String], instanceID: String? = nil, mostMessages: Int = 10_000
  ) throws {
    var forced = [
      ("group.id", group), ("enable.auto.commit", "false"), ("enable.auto.offset.store", "false"), ("enable.partition.eof", "true"),
      ("auto.offset.reset", "error"),
    ]
    if let instanceID { forced.append(("group.instance.id", instanceID)) }
    let box = EventBox()
    handle = try RdKafkaHandle(
      RD_KAFKA_CONSUMER, settings, defaults: Self.defaults + Self.membership(settings, isStatic: instanceID != nil), forced: forced, ifKnown: Self.pace
    ) { conf in
      rd_kafka_conf_set_opaque(conf, Unmanaged.passUnretained(box).toOpaque())
      rd_kafka_conf_set_rebalance_cb(conf) { raw, code, list, opaque in
        // Safety: the box lives as long as the consumer, which closes the handle before it goes.
        let box = Unmanaged<EventBox>.fromOpaque(opaque!).takeUnretainedValue()
        let partitions = Consumer.partitions(list)
        if box.isClosing {
          Consumer.unassign(raw!, list)
        } else if code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
          box.events.append(.assigned(partitions))
        } else if code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS, rd_kafka_assignment_lost(raw) == 0 {
          box.events.append(.revoked(partitions))
        } else {
          Consumer.unassign(raw!, list)
          for at in partitions { box.acknowledging[at] = nil }
          box.events.append(.lost(partitions))
        }
      }
      rd_kafka_conf_set_stats_cb(conf) { raw, json, length, opaque in
        let box = Unmanaged<EventBox>.fromOpaque(opaque!).takeUnretainedValue()
        guard let raw, let json, !box.acknowledging.isEmpty else { return 0 }
        let text = String(decoding: UnsafeRawBufferPointer(start: json, count: length), as: UTF8.self)
        if text.contains("\"join_state\":\"steady\"") { Consumer.sendAcknowledgements(raw, box) }
        return 0
      }
      rd_kafka_conf_set_error_cb(conf) { raw, code, reason, opaque in
        let box = Unmanaged<EventBox>.fromOpaque(opaque!).takeUnretainedValue()
        let code = rd_kafka_resp_err_t(rawValue: code)
        let text = reason.map { String(cString: $0) } ?? RdKafkaHandle.text(code)
        if code == RD_KAFKA_RESP_ERR__FATAL {
          var words = [CChar](repeating: 0, count: 512)
          let cause = rd_kafka_fatal_error(raw, &words, words.count)
          box.events.append(.fatal("\(RdKafkaHandle.text(cause)): \(RdKafkaHandle.text(words))"))
        } else {
          box.events.append(.error(text))
        }
      }
    }
    self.box = box
    self.mostMessages = mostMessages
    buffer = Array(repeating: nil, count: mostMessages)
    rd_kafka_poll_set_consumer(handle.raw)
    queue = rd_kafka_queue_get_consumer(handle.raw)
    let code = withPartitionList(topics.map { (TopicPartition(topic: $0, partition: RD_KAFKA_PARTITION_UA), -1001) }) {
      rd_kafka_subscribe(handle.raw, $0)
    }
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw KafkaError(code: .other, message: "subscribe to \(topics.joined(separator: ", ")): \(RdKafkaHandle.text(code))")
    }
  }

  deinit { rd_kafka_queue_destroy(queue) }

  private static func partitions(_ list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?) -> [TopicPartition] {
    guard let list else { return [] }
    return (0..<Int(list.pointee.cnt)).map {
      TopicPartition(topic: String(cString: list.pointee.elems[$0].topic), partition: list.pointee.elems[$0].partition)
    }
  }

  private static func isCooperative(_ raw: OpaquePointer) -> Bool {
    rd_kafka_rebalance_protocol(raw).map { String(cString: $0) } == "COOPERATIVE"
  }

  /// What the group has assigned need not be fetched yet: librdkafka refuses a list with such a partition as a whole, and
  /// would wait for the answer for ever.
  private static func unassign(_ raw: OpaquePointer, _ list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?) {
    guard isCooperative(raw) else {
      rd_kafka_assign(raw, nil)
      return
    }
    var fetched: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?
    let code = rd_kafka_assignment(raw, &fetched)
    defer { if let fetched { rd_kafka_topic_partition_list_destroy(fetched) } }
    let held = code == RD_KAFKA_RESP_ERR_NO_ERROR ? Set(partitions(fetched)) : []
    withPartitionList(partitions(list).filter(held.contains).map { ($0, -1001) }) {
      if let error = rd_kafka_incremental_unassign(raw, $0) { rd_kafka_error_destroy(error) }
    }
  }

  /// The batch call of librdkafka before 2.1 loses messages: a group that rebalances cooperatively pauses the partitions that
  /// a member keeps, and what the batch call has in hand at that moment is thrown away although it counts as delivered. From
  /// 2.1 to 2.13.1 it counts the end of a partition as a message, and the same pause then skips the next one (librdkafka's
  /// changelog: 4208, 4844). Taking messages one at a time is right in all versions, at about 0.04 µs of CPU more a message.
  static let takesSingly = rd_kafka_version() < 0x020d_02ff

  private func takeSingly(_ timeout: Int32) -> Int {
    var count = 0
    while count < mostMessages, let message = rd_kafka_consume_queue(queue, count == 0 ? timeout : 0) {
      buffer[count] = message
      count += 1
    }
    return count
  }

  /// Waits up to `timeout` milliseconds for the first message, then takes what is there.
  public func poll(timeout: Int32) -> [ConsumerEvent] {
    let count = Self.takesSingly ? takeSingly(timeout) : rd_kafka_consume_batch_queue(queue, timeout, &buffer, mostMessages)
    var events: [ConsumerEvent] = []
    var open: [RecordSet] = []
    var lastTopic: OpaquePointer?
    var lastPartition: Int32 = -1
    var last: RecordSet?
    for i in 0..<max(0, count) {
      guard let message = buffer[i] else { continue }
      let topic = message.pointee.rkt
      let partition = message.pointee.partition
      guard message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
        // What came before an event of a partition is delivered before it.
        events.append(contentsOf: open.map { .records($0) })
        open.removeAll()
        last = nil
        if let event = event(of: message) { events.append(event) }
        rd_kafka_message_destroy(message)
        continue
      }
      if last == nil || topic != lastTopic || partition != lastPartition {
        let at = TopicPartition(topic: String(cString: rd_kafka_topic_name(topic)), partition: partition)
        lastTopic = topic
        lastPartition = partition
        if let known = open.first(where: { $0.at == at }) {
          last = known
        } else {
          let set = RecordSet(at, capacity: count - i)
          open.append(set)
          last = set
        }
      }
      last!.append(message)
    }
    events.append(contentsOf: open.map { .records($0) })
    for event in events { note(event) }
    for event in box.events { note(event) }
    if !outOfRange.isEmpty { events = withoutOutdated(events) }
    events.append(contentsOf: box.events)
    box.events.removeAll()
    return events
  }

  private func note(_ event: ConsumerEvent) {
    switch event {
    case .records(let set) where positions[set.at] != nil: positions[set.at] = set.offsets[set.count - 1] + 1
    case .endOfPartition(let at, let end): if let position = positions[at] { positions[at] = max(position, end) }
    case .revoked: isAskedBack = true
    case .lost(let partitions): forget(partitions)
    default: break
    }
  }

  /// librdkafka holds back what it fetched before a seek, but not its report that an offset was out of range; and what comes late
  /// may have ended the new fetching as well. A report of another offset than the next one is no news: the partition is sent there again.
  private func withoutOutdated(_ events: [ConsumerEvent]) -> [ConsumerEvent] {
    defer { outOfRange.removeAll() }
    return events.filter { event in
      guard case .offsetOutOfRange(let at, _) = event, let offset = outOfRange[at], let position = positions[at], offset != position else { return true }
      do { try seek(at, to: position) } catch { return true }
      return false
    }
  }

  private func event(of message: UnsafeMutablePointer<rd_kafka_message_t>) -> ConsumerEvent? {
    let m = message.pointee
    let topic = m.rkt.map { String(cString: rd_kafka_topic_name($0)) } ?? ""
    let at = TopicPartition(topic: topic, partition: m.partition)
    let text = rd_kafka_message_errstr(message).map { String(cString: $0) } ?? RdKafkaHandle.text(m.err)
    switch m.err {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF: return .endOfPartition(at, m.offset)
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
      // A log that was truncated is another matter, and always reported.
      if text.contains(RdKafkaHandle.text(RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)) { outOfRange[at] = m.offset }
      return .offsetOutOfRange(at, text)
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      return missing.insert(topic).inserted ? .topicMissing(topic) : nil
    case RD_KAFKA_RESP_ERR__FATAL: return .fatal(text)
    default:
      errorCount += 1
      return .error(text)
    }
  }

  /// Answers `.assigned`, or adds to what is assigned: fetching begins at these offsets, whatever was paused before: librdkafka
  /// remembers the pause of a partition over its assignments.
  public func assign(_ partitions: [(TopicPartition, offset: Int64)]) throws {
    let cooperative = Self.isCooperative(handle.raw)
    // An eager assignment is replaced as a whole, each partition at its position.
    let added = Set(partitions.map(\.0))
    let rest = cooperative ? [] : positions.filter { !added.contains($0.key) }.map { ($0.key, $0.value) }
    let waiting = cooperative ? [] : paused.subtracting(added)
    let failure: String? = withPartitionList(partitions.map { ($0.0, $0.offset) } + rest) { list in
      if cooperative {
        guard let error = rd_kafka_incremental_assign(handle.raw, list) else { return nil }
        defer { rd_kafka_error_destroy(error) }
        return String(cString: rd_kafka_error_string(error))
      }
      let code = rd_kafka_assign(handle.raw, list)
      return code == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : RdKafkaHandle.text(code)
    }
    for (at, offset) in partitions {
      missing.remove(at.topic)
      if failure == nil { positions[at] = offset }
    }
    if let failure { throw KafkaError(code: .other, message: "assignment: \(failure)") }
    if !partitions.isEmpty { resume(partitions.map(\.0)) }
    if !waiting.isEmpty { pause(Array(waiting)) }
  }

  /// Answers `.revoked`.
  public func unassign(_ partitions: [TopicPartition]) {
    for at in partitions { box.acknowledging[at] = nil }
    forget(partitions)
    withPartitionList(partitions.map { ($0, -1001) }) { Self.unassign(handle.raw, $0) }
  }

  private func forget(_ partitions: [TopicPartition]) {
    isAskedBack = false
    for at in partitions { positions[at] = nil }
    paused.subtract(partitions)
  }

  public func pause(_ partitions: [TopicPartition]) {
    paused.formUnion(partitions)
    _ = withPartitionList(partitions.map { ($0, -1001) }) { rd_kafka_pause_partitions(handle.raw, $0) }
  }

  public func resume(_ partitions: [TopicPartition]) {
    paused.subtract(partitions)
    _ = withPartitionList(partitions.map { ($0, -1001) }) { rd_kafka_resume_partitions(handle.raw, $0) }
  }

  /// Fetching goes on at `offset`. Waits up to two seconds for librdkafka's own threads, not for a broker.
  ///
  /// After an offset that Kafka does not have, librdkafka has ended the partition's fetching for good and refuses to seek:
  /// the partition is taken out of the assignment and put in again. Taking it out would answer a revocation that waits for its
  /// answer: until then it is refused.
  public func seek(_ at: TopicPartition, to offset: Int64) throws {
    let (failure, code): (String?, rd_kafka_resp_err_t) = withPartitionList([(at, offset)]) { list in
      guard let error = rd_kafka_seek_partitions(handle.raw, list, Self.seekTimeout) else { return (nil, list.pointee.elems[0].err) }
      defer { rd_kafka_error_destroy(error) }
      return (String(cString: rd_kafka_error_string(error)), rd_kafka_error_code(error))
    }
    if failure == nil, code == RD_KAFKA_RESP_ERR_NO_ERROR {
      positions[at] = offset
      return
    }
    guard code == RD_KAFKA_RESP_ERR__STATE, positions[at] != nil, !(isAskedBack && Self.isCooperative(handle.raw)) else {
      throw KafkaError(code: .other, message: "seek \(at) to \(offset): \(failure ?? RdKafkaHandle.text(code))")
    }
    let wasPaused = paused.contains(at)
    if Self.isCooperative(handle.raw) { withPartitionList([(at, -1001)]) { Self.unassign(handle.raw, $0) } }
    try assign([(at, offset: offset)])
    if wasPaused { pause([at]) }
  }

  /// Tells Kafka how far this group is, for lag tools alone: nothing of Tidemark reads it. Does not wait.
  ///
  /// The offsets are sent within five seconds, and only while the group is steady: a commit that waits behind a JoinGroup
  /// on the coordinator's connection is answered with "illegal generation", upon which librdkafka gives the whole
  /// assignment up for lost. librdkafka's statistics are where it says whether the group is steady.
  public func acknowledge(_ offsets: [(TopicPartition, offset: Int64)]) {
    for (at, offset) in offsets { box.acknowledging[at] = offset }
  }

  private static func sendAcknowledgements(_ raw: OpaquePointer, _ box: EventBox) {
    _ = withPartitionList(box.acknowledging.map { ($0.key, $0.value) }) { rd_kafka_commit(raw, $0, 1) }
    box.acknowledging.removeAll(keepingCapacity: true)
  }

  /// Ends of the assigned partitions as their last fetches said; a paused one is not fetched. Asks nobody.
  public var knownEnds: [TopicPartition: Int64] {
    var ends: [TopicPartition: Int64] = [:]
    for at in positions.keys {
      var low: Int64 = 0
      var high: Int64 = 0
      let code = rd_kafka_get_watermark_offsets(handle.raw, at.topic, at.partition, &low, &high)
      if code == RD_KAFKA_RESP_ERR_NO_ERROR, high >= 0 { ends[at] = high }
    }
    return ends
  }

  /// A reader of metadata and offsets that other threads may use; it shares this consumer's connections.
  public var metadata: ClusterMetadata { ClusterMetadata(handle) }

  /// Leaves the group. What is still assigned is given back without being reported; call at the end, from the polling thread.
  public func close() {
    box.isClosing = true
    // Leaving follows on the same connection: a group that is not steady takes no harm any more.
    if !box.acknowledging.isEmpty { Self.sendAcknowledgements(handle.raw, box) }
    rd_kafka_consumer_close(handle.raw)
    box.events.removeAll()
  }
}
