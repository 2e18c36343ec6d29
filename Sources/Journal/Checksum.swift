import CSimdJSON

/// CRC32C of `bytes` after those that gave `crc`. Cost: about memory speed where the processor has the instruction.
func crc32c(_ bytes: UnsafeRawBufferPointer, after crc: UInt32 = 0) -> UInt32 {
  tm_crc32c(crc, bytes.baseAddress, bytes.count)
}
