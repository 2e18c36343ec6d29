import Postgres
import Testing
import Warehouse

extension AccessTests {
  /// A tier that sees all measures of its departments reads the table itself, unless `barrier` gives it a view.
  @Suite struct Direct {
    @Test(arguments: [false, true]) func headsReadTheTableItself(isWithoutOperator: Bool) throws {
      let fixture = try AccessFixture(isWithoutOperator ? "direct_lookup" : "direct", yaml: AccessFixture.direct, isWithoutOperator: isWithoutOperator)
      let head = try fixture.person("head", ("department_head", ["sales", "legal"])), both = try fixture.person("both", ("ceo", []), ("department_head", ["sales"]))
      #expect(head.departments("analytics.daily_metrics") == "<legal> <sales>")
      #expect(both.value("SELECT count(*) FROM analytics.daily_metrics") == "120", "who is the ceo, too, loses nothing")
      #expect(head.departments() == "42P01")
      let report = try fixture.verification([fixture.topology]).run()
      #expect(report.leaks == 0, "\(report.findings.filter { $0.severity == .leak }) \(report.attacks.filter { $0.leak != nil })")
      #expect(report.lines.contains { $0.tier == "department_head" && $0.relation == "analytics.daily_metrics" && $0.seen == 20 && $0.expected == 20 })
      // What no policy on a table can keep is said.
      #expect(report.findings.contains { $0.severity == .note && $0.object == "department_head on analytics.daily_metrics" && $0.message.contains("barrier: true") })
      let barred = try AccessFixture(isWithoutOperator ? "barred_lookup" : "barred", isWithoutOperator: isWithoutOperator).verification().lint()
      #expect(!barred.contains { $0.message.contains("barrier: true") })
    }

    /// Conditions are asked after the policy in a query of the table, too; where they are not, it is found.
    @Test(arguments: [false, true]) func aPolicyThatIsAskedLastIsWalkedThrough(isWithoutOperator: Bool) throws {
      let fixture = try AccessFixture(isWithoutOperator ? "last_lookup" : "last", yaml: AccessFixture.direct, isWithoutOperator: isWithoutOperator)
      try fixture.sql.script(isWithoutOperator ? "DROP POLICY tidemark_scope ON analytics.daily_metrics" : "ALTER FUNCTION access.equals(text, varchar) COST 1")
      let gained = try fixture.verification().run().attacks.filter { $0.leak != nil && $0.by == "department_head" }
      #expect(Set(gained.map(\.name)) == ["EXPLAIN ANALYZE of a condition", "counters after a condition", "a condition that does something"])
      try fixture.migrate()
      #expect(try fixture.verification([fixture.topology]).run().leaks == 0)
    }
  }
}
