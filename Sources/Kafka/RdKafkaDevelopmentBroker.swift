import CRdKafka

/// librdkafka's mock cluster as a broker for development: in memory, on loopback, gone with its process.
/// It keeps the newest 5 MB or 100,000 messages of a partition and forgets the rest.
public final class DevelopmentBroker {
  private let handle: RdKafkaHandle
  private let cluster: OpaquePointer
  public let bootstrapServers: String

  /// - Parameters:
  ///   - brokers: how many; their ids begin at 1. Partitions are spread over them as leaders.
  ///   - partitions: of topics that are made by being used.
  public init(brokers: Int32 = 1, partitions: Int32 = 4) throws {
    handle = try RdKafkaHandle(RD_KAFKA_PRODUCER, KafkaSettings(bootstrapServers: ""), defaults: [("client.id", "tidemark-broker")])
    guard let cluster = rd_kafka_mock_cluster_new(handle.raw, brokers) else {
      throw KafkaError(code: .other, message: "the development broker cannot be made")
    }
    self.cluster = cluster
    rd_kafka_mock_topic_create(cluster, "__tidemark_unused", 1, 1)
    bootstrapServers = String(cString: rd_kafka_mock_cluster_bootstraps(cluster))
    defaultPartitions = partitions
  }
  private let defaultPartitions: Int32

  deinit { rd_kafka_mock_cluster_destroy(cluster) }

  /// Makes a topic, with the broker's own number of partitions unless told otherwise.
  public func createTopic(_ name: String, partitions: Int32? = nil) throws {
    let code = rd_kafka_mock_topic_create(cluster, name, partitions ?? defaultPartitions, 1)
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS else {
      throw KafkaError(code: .other, message: "topic \(name): \(RdKafkaHandle.text(code))")
    }
  }

  /// Carries a fault out, or ends one. Returns when the cluster has taken it; requests that are under way may not feel it.
  /// - Throws: `KafkaError` naming the order, for a broker that there is not.
  public func carryOut(_ order: BrokerOrder) throws(KafkaError) {
    let code: rd_kafka_resp_err_t
    switch order {
    case .fail(let request, let error, let count): code = push(request, rd_kafka_resp_err_t(rawValue: rd_kafka_resp_err_t.RawValue(error)), count)
    case .drop(let request, let count): code = push(request, RD_KAFKA_RESP_ERR__TRANSPORT, count)
    case .clear(let request):
      rd_kafka_mock_clear_request_errors(cluster, request.rawValue)
      code = RD_KAFKA_RESP_ERR_NO_ERROR
    case .down(let broker): code = rd_kafka_mock_broker_set_down(cluster, broker)
    case .up(let broker): code = rd_kafka_mock_broker_set_up(cluster, broker)
    case .roundTrip(let broker, let milliseconds): code = rd_kafka_mock_broker_set_rtt(cluster, broker, milliseconds)
    case .leader(let at, let broker): code = rd_kafka_mock_partition_set_leader(cluster, at.topic, at.partition, broker)
    case .coordinator(let group, let broker): code = rd_kafka_mock_coordinator_set(cluster, "group", group, broker)
    }
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaError(code: .other, message: "\(order): \(RdKafkaHandle.text(code))") }
  }

  private func push(_ request: BrokerOrder.Request, _ error: rd_kafka_resp_err_t, _ count: Int) -> rd_kafka_resp_err_t {
    let errors = [rd_kafka_resp_err_t](repeating: error, count: count)
    rd_kafka_mock_push_request_errors_array(cluster, request.rawValue, count, errors)
    return RD_KAFKA_RESP_ERR_NO_ERROR
  }
}
