import ArgumentParser
import Foundation
import Kafka
import Workload

struct Replay: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Send a file of events to Kafka, a JSON object a line.",
    discussion: """
      Lines are sent as they are, in order, with an idempotent compressing producer; --key names the field that becomes the
      Kafka key and so decides the partition, as Kafka's Java client would. Lines without that field are sent without a key
      and counted.

      EXAMPLES
        tidemark replay events.ndjson.gz --topic git.activity --key user_id
        tidemark replay events.ndjson --topic product.events --key user_id --rate 5000
      """)
  @Argument(help: ArgumentHelp("The file, plain or gzip.", valueName: "file")) var file: String
  @Option(help: ArgumentHelp("The topic.", valueName: "name")) var topic: String
  @Option(help: ArgumentHelp("The field that becomes the key; dots lead into objects.", valueName: "field")) var key: String?
  @Option(help: ArgumentHelp("At most so many events a second.", valueName: "events")) var rate: Int?
  @Option(help: ArgumentHelp("Partitions of the topic, if it has to be made.", valueName: "count")) var partitions: Int32 = 8
  @OptionGroup var kafka: KafkaOptions

  func validate() throws {
    if let rate, rate < 1 { throw ValidationError("--rate \(rate): expected at least 1") }
    guard (1...10_000).contains(partitions) else { throw ValidationError("--partitions \(partitions): expected 1 to 10000") }
  }

  func run() throws {
    try reportingFailures {
      let sender = try Sender(kafka.settings(), topic: topic, partitions: partitions, rate: rate)
      do {
        let reader = try LineReader(path: file)
        let path = key?.split(separator: ".").map(String.init)
        var keyless = 0
        while let line = try reader.next() {
          var text: [UInt8]?
          if let path {
            text = KeyField.text(at: path, in: line)
            if text == nil { keyless += 1 }
          }
          try sender.send(key: text, payload: line)
        }
        try sender.finish()
        if keyless > 0 { Console.note("\(Console.grouped(keyless)) lines have no \(key ?? "key"): sent without a key") }
        Console.write("\(sender.sent) events from \(file) to \(topic)")
      } catch let error as LineReaderError { throw Failure(.data, error.description) }
    }
  }
}

/// A field's text inside a JSON line.
enum KeyField {
  static func text(at path: [String], in line: [UInt8]) -> [UInt8]? {
    guard var value = try? JSONSerialization.jsonObject(with: Data(line)) else { return nil }
    for name in path {
      guard let object = value as? [String: Any], let next = object[name] else { return nil }
      value = next
    }
    if let text = value as? String { return Array(text.utf8) }
    if let number = value as? NSNumber { return Array(number.stringValue.utf8) }
    return nil
  }
}

/// A producer with a pace, a progress line and exact counts.
final class Sender {
  private let producer: Producer
  private let topic: String
  private let rate: Int?
  /// Of the first event: making a topic is not part of the pace.
  private lazy var begin = Date()
  private var said = Date()
  private(set) var sent = 0

  /// Makes the topic if it is not there and the broker can make topics.
  init(_ settings: KafkaSettings, topic: String, partitions: Int32, rate: Int?) throws {
    self.topic = topic
    self.rate = rate
    do {
      if try ClusterMetadata(settings).partitionCount(topic) == nil {
        do {
          try Admin.createTopic(settings, topic, partitions: partitions)
          Console.note("made topic \(topic) with \(partitions) partitions")
        } catch { Console.note("topic \(topic) cannot be made (\(error)): it is left to the broker") }
      }
      producer = try Producer(settings, topic: topic)
    } catch let error as KafkaError {
      throw Failure(error.code == .unreachable ? .unavailable : .data, error.message)
    }
  }

  func send(key: [UInt8]?, payload: [UInt8]?, timestamp: Int64? = nil, partition: Int32? = nil) throws {
    if let rate, sent.isMultiple(of: max(1, rate / 100)) {
      let due = Double(sent) / Double(rate) - Date().timeIntervalSince(begin)
      if due > 0 { Thread.sleep(forTimeInterval: due) }
    }
    do { try producer.send(key: key, payload: payload, timestamp: timestamp, partition: partition) } catch let error as KafkaError {
      throw Failure(.unavailable, error.message)
    }
    sent += 1
    if sent.isMultiple(of: 4096), Date().timeIntervalSince(said) >= 1 {
      said = Date()
      Console.progress(progress)
    }
  }

  /// To be called before the first event: nothing is sent before the time that it bears.
  func wait(until time: Date) { Thread.sleep(forTimeInterval: max(0, time.timeIntervalSinceNow)) }

  private var progress: String {
    let seconds = max(0.001, Date().timeIntervalSince(begin))
    return "\(topic): \(Console.grouped(sent)) events sent, \(Console.grouped(Int(Double(sent) / seconds)))/s"
  }

  /// Waits until every event is delivered.
  func finish() throws {
    do { try producer.flush() } catch let error as KafkaError { throw Failure(.unavailable, error.message) }
    guard producer.delivered == sent else { throw Failure(.software, "\(sent) events were sent, \(producer.delivered) delivered") }
    Console.progress(progress, isLast: true)
  }
}
