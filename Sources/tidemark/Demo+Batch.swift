import ArgumentParser
import Foundation
import Kafka
import Postgres
import Warehouse

/// The batch side of the demonstration: what was landed proves what was streamed, and finds a row that somebody changed.
extension DemoStage {
  func makeOperationalTables() throws {
    do throws(WarehouseError) { try Demonstration.makeOperationalTables(on: try self.connection()) } catch { throw Failure(error) }
  }

  func startLanding() throws { try start("land", ["land", "--topology", topology, "--instance", "demo-land"]) }

  private func connection() throws(WarehouseError) -> Connection {
    do { return try connect(target) } catch { throw WarehouseError(.unreachable, "\(error)") }
  }

  /// Runs a command to its end; its output, and its exit code.
  private func output(_ name: String, _ arguments: [String]) throws -> (text: String, code: Int32) {
    let pipe = Pipe()
    let process = try start(name, arguments, output: pipe)
    let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (text.trimmingCharacters(in: .newlines), process.terminationStatus)
  }

  /// Lands the rest, refreshes, reconciles; then one row is changed by hand, found, and put back.
  func proveByBatch() throws {
    Console.write("the batch side: landing the rest, refreshing the nightly views, reconciling")
    try perform("land-rest", ["land", "--topology", topology, "--until-caught-up", "--instance", "demo-land-rest"])
    let nightly = try output("nightly", ["nightly", "--accept", "explained", "--limit", "2"])
    Console.write(nightly.text)
    guard nightly.code == 0 else { throw Failure(.difference, "the nightly batch differs from the stream: \(log("nightly"))") }
    do throws(WarehouseError) {
      if let kpis = try Demonstration.kpis(on: try connection()) {
        Console.write("kpi_snapshot: MRR \(kpis.revenueCents) cents, \(kpis.newUsers) new users in 30 days, DAU \(kpis.dau) from the stream")
      }
    } catch { throw Failure(error) }
    let key = ["department", "event_type"]
    let changed: String?
    do throws(WarehouseError) {
      changed = try Demonstration.tamper("daily_metrics", key: key, measure: "event_count", by: 7, on: try connection())
    } catch { throw Failure(error) }
    Console.write("sabotage: somebody changes a row of daily_metrics by hand, \(changed ?? "no row"); reconciling again")
    let found = try output("reconcile", ["reconcile", "--accept", "explained", "--limit", "1"])
    Console.write(found.text)
    guard found.code == 3, found.text.contains("unexplained") else {
      throw Failure(.software, "the changed row was not found (exit code \(found.code)): \(log("reconcile"))")
    }
    do throws(WarehouseError) {
      _ = try Demonstration.tamper("daily_metrics", key: key, measure: "event_count", by: -7, on: try connection())
    } catch { throw Failure(error) }
    Console.write("found: the row, both values, and where its events lie (exit code 3); it is put back")
  }
}
