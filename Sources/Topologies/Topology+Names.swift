extension Topology {
  /// Most characters of a name: a column derived from one still fits PostgreSQL's 63 bytes.
  public static let longestName = 48

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

  /// The nearest name that SQL can carry; nil where nothing of the text is left.
  static func nameResembling(_ text: String) -> String? {
    let bytes = text.lowercased().utf8.map { isNameByte($0) ? $0 : UInt8(ascii: "_") }
    let letters = bytes.drop { !(UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) }
    return letters.isEmpty ? nil : String(decoding: letters.prefix(longestName), as: UTF8.self)
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"): true
    default: false
    }
  }
}
