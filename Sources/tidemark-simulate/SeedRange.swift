import ArgumentParser

/// `1..10000`, or one seed.
struct SeedRange: ExpressibleByArgument {
  let seeds: ClosedRange<UInt64>

  init(_ seeds: ClosedRange<UInt64>) { self.seeds = seeds }

  init?(argument: String) {
    let parts = argument.split(separator: ".", omittingEmptySubsequences: false)
    let numbers = parts.filter { !$0.isEmpty }.compactMap { UInt64($0) }
    switch (parts.count, numbers.count) {
    case (1, 1): seeds = numbers[0]...numbers[0]
    case (3, 2) where numbers[0] <= numbers[1]: seeds = numbers[0]...numbers[1]
    default: return nil
    }
  }

  var defaultValueDescription: String { "\(seeds.lowerBound)..\(seeds.upperBound)" }
}
