import Engine
import Foundation

/// A queue between threads. Many may post; one takes.
// Safety: see below.
final class Mailbox<Message>: @unchecked Sendable {
  // Safety: `messages` and `isClosed` are only touched while `condition` is locked.
  private let condition = Condition()
  private var messages: [Message] = []
  private var isClosed = false

  /// Number of messages that wait.
  var depth: Int { condition.withLock { messages.count } }

  func post(_ message: Message) {
    condition.withLock {
      messages.append(message)
      condition.broadcast()
    }
  }

  /// Nothing can be taken any more once what is there has been taken.
  func close() {
    condition.withLock {
      isClosed = true
      condition.broadcast()
    }
  }

  /// All messages that wait; waits for the first one up to `seconds`. nil: closed and empty.
  func takeAll(waiting seconds: Double) -> [Message]? {
    condition.withLock {
      let deadline = Condition.deadline(seconds)
      while messages.isEmpty, !isClosed { if !condition.wait(until: deadline) { break } }
      if messages.isEmpty { return isClosed ? nil : [] }
      let taken = messages
      messages.removeAll(keepingCapacity: true)
      condition.broadcast()
      return taken
    }
  }

  /// What a wait for one message came to.
  enum Taken {
    case message(Message)
    case nothing
    case closed
  }

  /// The first message that is wanted; waits for it up to `seconds`. The others stay where they are, in order. Closed: none of
  /// what is left is wanted. - Complexity: O(messages).
  func take(waiting seconds: Double, where isWanted: (Message) -> Bool) -> Taken {
    condition.withLock {
      let deadline = Condition.deadline(seconds)
      while true {
        if let at = messages.firstIndex(where: isWanted) {
          condition.broadcast()
          return .message(messages.remove(at: at))
        }
        if isClosed { return .closed }
        if !condition.wait(until: deadline) { return messages.firstIndex(where: isWanted).map { .message(messages.remove(at: $0)) } ?? .nothing }
      }
    }
  }

  /// Waits until at most `depth` messages wait, up to `seconds`.
  func awaitRoom(depth: Int, waiting seconds: Double) {
    condition.withLock {
      let deadline = Condition.deadline(seconds)
      while messages.count > depth, !isClosed { if !condition.wait(until: deadline) { break } }
    }
  }
}

/// A thread with a name and a way to wait for its end.
// Safety: see below.
final class Worker: @unchecked Sendable {
  // Safety: `isDone` is only touched while `condition` is locked; `thread` never changes.
  private let condition = Condition()
  private var isDone = false
  private var thread: Thread?

  init(name: String, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread { [self] in
      body()
      condition.withLock {
        isDone = true
        condition.broadcast()
      }
    }
    thread.name = name
    thread.stackSize = 4 << 20
    self.thread = thread
    thread.start()
  }

  func join() { condition.withLock { while !isDone { condition.wait() } } }

  /// Waits up to `seconds`; whether it has ended.
  func join(within seconds: Double) -> Bool {
    condition.withLock {
      let deadline = Condition.deadline(seconds)
      while !isDone { if !condition.wait(until: deadline) { break } }
      return isDone
    }
  }

  /// Waits until `end` of `Clock.milliseconds()`; whether it has ended.
  func join(by end: Milliseconds) -> Bool { join(within: Double(max(0, end - Clock.milliseconds())) / 1000) }
}
