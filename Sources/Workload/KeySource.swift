/// Where Kafka keys come from: the text of the partition key's field.
enum KeySource: Sendable {
  /// The partition key is the event id.
  case identifier
  case member(Members)

  /// nil where the topology has no partition key, or the time for one.
  init?(_ shape: Shape, users: Int, seed: UInt64) {
    guard let key = shape.key, shape.fields[key].path != shape.timePath else { return nil }
    if shape.fields[key].path == shape.idPath {
      self = .identifier
    } else {
      self = .member(Members(kind: shape.fields[key].kind, users: users, seed: seed))
    }
  }

  /// 32 hexadecimal digits.
  static func text(of identifier: (high: UInt64, low: UInt64)) -> [UInt8] {
    var text = PayloadBuffer()
    text.appendHexadecimal(identifier.high, digits: 16)
    text.appendHexadecimal(identifier.low, digits: 16)
    return text.bytes
  }

  /// A population, few members of which produce much.
  struct Members: Sendable {
    let kind: Shape.Kind
    let users: Int
    let seed: UInt64

    /// The text of a member: `u_` and 12 hexadecimal digits for strings, otherwise a number or a boolean.
    func draw(_ random: inout SeededRandom) -> [UInt8] {
      // The square makes the chance of rank r fall with √r: of a million, the first thousand produce 3 %.
      let u = random.unit()
      let rank = min(Int(u * u * Double(users)), users - 1)
      return text(rank)
    }

    func text(_ rank: Int) -> [UInt8] {
      switch kind {
      case .string:
        var digits: [UInt8] = [UInt8(ascii: "u"), UInt8(ascii: "_")]
        digits.reserveCapacity(14)
        let value = scrambled(rank)
        for shift in stride(from: UInt64(44), through: 0, by: -4) {
          let nibble = UInt8(truncatingIfNeeded: value >> shift) & 15
          digits.append(nibble < 10 ? nibble + 48 : nibble + 87)
        }
        return digits
      case .integer: return Array(String(rank).utf8)
      case .decimal(let scale): return Array((String(rank) + String(repeating: "0", count: scale)).utf8)
      case .boolean: return Array((rank & 1 == 0 ? "true" : "false").utf8)
      }
    }

    /// A permutation of the numbers of 48 bits: different ranks never share a text.
    private func scrambled(_ rank: Int) -> UInt64 {
      let mask: UInt64 = (1 << 48) - 1
      var x = (UInt64(rank) &+ seed &* 0x9E37_79B9_7F4A_7C15) & mask
      for factor: UInt64 in [0xD6E8_FEB8_6659_FD93, 0xBF58_476D_1CE4_E5B9] {
        x ^= x >> 25
        x = (x &* factor) & mask
      }
      return x ^ (x >> 25)
    }
  }
}
