/// The candidate with the least edit distance to `text`, if it is near enough to be meant: one edit for short words,
/// one in three characters for longer ones. Case does not count. nil for texts that nobody would misspell.
/// - Complexity: O(candidates × n × m), n and m at most 100.
func nearest(to text: String, among candidates: some Sequence<String>) -> String? {
  let longest = 100
  guard text.utf8.count <= longest else { return nil }
  let lower = text.lowercased()
  var best: (candidate: String, distance: Int)?
  for candidate in candidates where candidate.utf8.count <= longest {
    let distance = editDistance(Array(lower.unicodeScalars), Array(candidate.lowercased().unicodeScalars))
    let allowed = max(1, max(text.count, candidate.count) / 3)
    if distance <= allowed, distance < best?.distance ?? .max { best = (candidate, distance) }
  }
  return best?.candidate
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
func editDistance<T: Equatable>(_ a: [T], _ b: [T]) -> Int {
  var before = [Int]()
  var previous = Array(0...b.count)
  for i in 0..<a.count {
    var row = [i + 1]
    for j in 0..<b.count {
      var cost = min(previous[j + 1] + 1, row[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, before[j - 1] + 1) }
      row.append(cost)
    }
    (before, previous) = (previous, row)
  }
  return previous[b.count]
}
