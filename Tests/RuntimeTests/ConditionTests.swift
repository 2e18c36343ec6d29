@testable import Runtime
import Testing

/// Waiting between threads: by the monotonic clock, no shorter than was asked for, and no longer than until there is something.
@Suite struct ConditionTests {
  @Test func aWaitWithoutAnythingTakesItsTime() {
    let mailbox = Mailbox<Int>()
    let begin = Clock.nanoseconds()
    #expect(mailbox.takeAll(waiting: 0.05) == [])
    mailbox.post(1)
    mailbox.awaitRoom(depth: 0, waiting: 0.05)
    #expect(Clock.nanoseconds() - begin >= 100_000_000)
    let never = Mailbox<Int>()
    let waiting = Worker(name: "waiting") { _ = never.takeAll(waiting: .greatestFiniteMagnitude) }
    #expect(!waiting.join(within: 0.02))
    #expect(!waiting.join(by: Clock.milliseconds() - 1))
    never.close()
    #expect(waiting.join(within: 60))
  }

  /// No message is lost or taken twice while many post, one takes, and both wait for each other.
  @Test func manyPostAndOneTakesAll() {
    let mailbox = Mailbox<Int>()
    let posters = (0..<4).map { poster in
      Worker(name: "poster") {
        for i in 0..<5000 {
          mailbox.post(poster * 5000 + i)
          mailbox.awaitRoom(depth: 64, waiting: 10)
        }
      }
    }
    var taken: [Int] = []
    while taken.count < 20_000 {
      let more = mailbox.takeAll(waiting: 60) ?? []
      #expect(!more.isEmpty)
      if more.isEmpty { break }
      taken += more
    }
    for poster in posters { #expect(poster.join(within: 60)) }
    #expect(taken.sorted() == Array(0..<20_000))
    mailbox.close()
    #expect(mailbox.takeAll(waiting: 0) == nil)
  }

  /// What is not wanted yet keeps its place; what is, is seen at once.
  @Test func oneMessageIsTakenAheadOfOthers() {
    let mailbox = Mailbox<Int>()
    func take(_ seconds: Double = 0, where isWanted: (Int) -> Bool = { _ in true }) -> String {
      switch mailbox.take(waiting: seconds, where: isWanted) {
      case .message(let message): "\(message)"
      case .nothing: "nothing"
      case .closed: "closed"
      }
    }
    for message in 1...4 { mailbox.post(message) }
    #expect(take { $0 == 3 } == "3")
    #expect(take { $0 > 9 } == "nothing")
    #expect(take() == "1")
    #expect(mailbox.depth == 2)
    let late = Worker(name: "late") {
      // Posted while the other waits, as far as this can know: either way it is found long before the time is over.
      mailbox.post(5)
      mailbox.post(10)
    }
    let begin = Clock.nanoseconds()
    #expect(take(60) { $0 > 9 } == "10")
    #expect(Clock.nanoseconds() - begin < 30_000_000_000)
    late.join()
    mailbox.close()
    #expect(take(60) { $0 > 9 } == "closed")
    #expect([take(), take(), take(), take()] == ["2", "4", "5", "closed"])
  }
}
