/// A table of texts that fits a width: with shorter texts where there are some, then with cuts, then without whole columns, in an order.
public struct FittedTable {
  public struct Column {
    var heading: String
    var cells: [String]
    /// What stands instead where there is a width: as many as cells.
    var short: [String]?
    var isRight = false
    /// Characters to which texts may be cut, in their middle; nil: they are not.
    var least: Int?
    /// 0: always there. The others go where room is short, the highest first.
    var rank = 0

    public init(_ heading: String, _ cells: [String], short: [String]? = nil, isRight: Bool = false, least: Int? = nil, rank: Int = 0) {
      self.heading = FittedTable.printable(heading)
      self.cells = cells.map(FittedTable.printable)
      self.short = short?.map(FittedTable.printable)
      self.isRight = isRight; self.least = least; self.rank = rank
    }

    var width: Int { max(heading.count, cells.map(\.count).max() ?? 0) }
  }

  private let columns: [Column]

  public init(_ columns: [Column]) { self.columns = columns }

  /// - Parameter width: characters of a line; nil: as many as it takes.
  /// - Returns: the heading and a line for each row, and headings of the columns that had no room.
  /// - Complexity: O(cells · columns).
  public func lines(width: Int?) -> (lines: [String], left: [String]) {
    guard let width else { return (Self.draw(columns), []) }
    var fitted = columns
    var left: [String] = []
    for i in fitted.indices { if let short = fitted[i].short { fitted[i].cells = short } }
    while true {
      let cut = Self.cut(fitted, to: width)
      if Self.width(cut) <= width { return (Self.draw(cut), left) }
      guard let last = fitted.indices.max(by: { fitted[$0].rank < fitted[$1].rank }), fitted[last].rank > 0 else {
        return (Self.draw(cut).map { String($0.prefix(width)) }, left)
      }
      left.append(fitted.remove(at: last).heading)
    }
  }

  private static func width(_ columns: [Column]) -> Int { columns.reduce(2 * max(0, columns.count - 1)) { $0 + $1.width } }

  /// Takes from the widest of those that may be cut until it fits, or none may be cut any more.
  private static func cut(_ columns: [Column], to width: Int) -> [Column] {
    var widths = columns.map(\.width)
    func over() -> Int { widths.reduce(2 * max(0, widths.count - 1), +) - width }
    while over() > 0, let widest = columns.indices.filter({ widths[$0] > floor(columns[$0]) }).max(by: { widths[$0] < widths[$1] }) { widths[widest] -= 1 }
    var result = columns
    for i in columns.indices where widths[i] < columns[i].width { result[i].cells = columns[i].cells.map { shortened($0, widths[i]) } }
    return result
  }

  private static func floor(_ column: Column) -> Int { column.least.map { max($0, column.heading.count) } ?? .max }

  /// `product.ev…/12`: both ends tell things apart.
  static func shortened(_ text: String, _ width: Int) -> String {
    guard text.count > width else { return text }
    let tail = (width - 1) / 3
    return "\(text.prefix(width - 1 - tail))…\(text.suffix(tail))"
  }

  private static func draw(_ columns: [Column]) -> [String] {
    let widths = columns.map(\.width)
    func line(_ cells: [String]) -> String {
      let texts = zip(columns.indices, cells).map { i, cell in
        let pad = String(repeating: " ", count: widths[i] - cell.count)
        return columns[i].isRight ? pad + cell : i == columns.count - 1 ? cell : cell + pad
      }
      return texts.joined(separator: "  ")
    }
    return [line(columns.map(\.heading))] + (columns.first?.cells.indices ?? 0..<0).map { row in line(columns.map { $0.cells[row] }) }
  }

  /// Control characters as spaces: names and messages may hold what anybody sent, and a terminal would obey its escapes.
  static func printable(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else { return text }
    return String(String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 }))
  }
}
