import LocalServers
import Postgres
import Testing

@Suite struct CopyTests {
  @Test func rowsArriveAsTheyWere() throws {
    let connection = try Connection(server.get().target, applicationName: "tests")
    try connection.script("CREATE TEMPORARY TABLE t (a bigint, b integer, c text, d boolean, e timestamptz, f jsonb, g numeric, h bytea)")
    let numbers: [(Int64, Int)] = [(0, 0), (125, 2), (-1, 9), (.max, 9), (.min, 0), (10_000, 4), (120_000, 1), (99_999, 5), (1, 3)]
    var rows = CopyBuffer()
    for (value, scale) in numbers {
      rows.beginRow(fields: 8)
      rows.integer(value)
      rows.integer32(Int32(scale))
      Array("ü\(value)".utf8).withUnsafeBufferPointer { rows.bytes($0) }
      rows.boolean(value > 0)
      rows.timestamp(1_699_999_200_000_001)
      Array(#"{"a": [1, "x"]}"#.utf8).withUnsafeBufferPointer { rows.jsonb($0) }
      rows.numeric(value, scale: scale)
      rows.null()
    }
    #expect(try connection.copy("COPY t FROM STDIN (FORMAT binary)", rows) == numbers.count)
    #expect(try connection.query("SELECT count(*) FROM t WHERE g * (10::numeric ^ b) <> a OR h IS NOT NULL OR c <> 'ü' || a") == [["0"]])
    #expect(try connection.query("SELECT DISTINCT f->'a'->>1, (e AT TIME ZONE 'UTC')::text FROM t") == [["x", "2023-11-14 22:00:00.000001"]])
    #expect(try connection.query("SELECT g FROM t WHERE b = 9 AND a < 0") == [["-0.000000001"]])
  }

  @Test func aRowThatDoesNotFitLeavesNothingAndTheConnectionUsable() throws {
    let connection = try Connection(server.get().target, applicationName: "tests")
    try connection.script("CREATE TEMPORARY TABLE t (f jsonb)")
    var rows = CopyBuffer()
    for text in [String](repeating: #"{"a": "\#(String(repeating: "x", count: 1000))"}"#, count: 2000) + [#"{"a": "\u0000"}"#] {
      rows.beginRow(fields: 1)
      Array(text.utf8).withUnsafeBufferPointer { rows.jsonb($0) }
    }
    do {
      _ = try connection.copy("COPY t FROM STDIN (FORMAT binary)", rows)
      Issue.record("it was taken")
    } catch { #expect(error.consequence == .data && error.sqlState == "22P05") }
    #expect(try connection.query("SELECT count(*) FROM t") == [["0"]])
    #expect(throws: PostgresError.self) { try connection.copy("COPY nowhere FROM STDIN (FORMAT binary)", rows) }
    #expect(try connection.query("SELECT 1") == [["1"]])
  }
}
