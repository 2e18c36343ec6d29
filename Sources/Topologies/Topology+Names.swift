extension Topology {
  /// Most characters of a name: a column derived from one still fits PostgreSQL's 63 bytes.
  public static let longestName = 48

  /// Most fields: the core tells them apart by a byte, of which some values mean other things.
  public static let mostFields = 250

  /// Most topics, aggregates, measures of one aggregate, values of one `where:` term. PostgreSQL's tables have at most
  /// 1,600 columns, and an average takes three.
  public static let mostItems = 500

  /// Columns that every analytics table has besides its fields and measures.
  public static let reservedColumns = ["window_start", "window_end", "updated_at"]

  /// Tables in `analytics` that are not aggregates.
  public static let reservedTables = ["freshness"]

  /// The name as SQL carries it: `-` becomes `_`. O(n).
  public static func sqlName(_ name: String) -> String { name.replacing("-", with: "_") }

  /// Whether a topology, an aggregate, a field, a measure or a tier may be called that: `[a-z][a-z0-9_-]*`, at most
  /// 48 characters.
  static func isName(_ text: String) -> Bool {
    guard let first = text.utf8.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first) else { return false }
    return text.utf8.count <= longestName && text.utf8.allSatisfy(isNameByte)
  }

  /// The nearest name that SQL can carry; nil where nothing of the text is left, or where it is not ASCII. `DailyOrders`
  /// becomes `daily_orders`.
  static func nameResembling(_ text: String) -> String? {
    guard text.utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
    var bytes: [UInt8] = []
    var afterSmall = false
    for byte in text.utf8 {
      let isCapital = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
      if isCapital, afterSmall { bytes.append(UInt8(ascii: "_")) }
      let small = isCapital ? byte + 32 : byte
      bytes.append(isNameByte(small) ? small : UInt8(ascii: "_"))
      afterSmall = !isCapital && isNameByte(byte) && byte != UInt8(ascii: "_") && byte != UInt8(ascii: "-")
    }
    let name = bytes.drop { !(UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) }.prefix(longestName)
    return name.isEmpty ? nil : String(decoding: name, as: UTF8.self)
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"): true
    default: false
    }
  }
}
