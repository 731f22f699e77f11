internal import Tensors

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

extension TensorCatalog {
    /// Whether there is no output projection, or one that repeats the embedding table byte for byte.
    ///
    /// Configurations are unreliable here (see Apple's export notes), so the data decide. A few bytes spread
    /// over the table settle nearly every case; only equal samples lead to a full comparison, whose pages are
    /// given back to the system as it goes.
    func repeatsEmbedding(_ sources: [String: StoredTensor]) throws(CheckpointError) -> Bool {
        guard sources["decoder.output.weight"] != nil else { return true }
        for leaf in ["weight", "scales", "biases"] {
            switch (sources["decoder.output.\(leaf)"], sources["decoder.embedding.\(leaf)"]) {
            case (nil, nil): continue
            case (let output?, let embedding?):
                guard sameBytes(output, embedding) else { return false }
            default: return false
            }
        }
        return true
    }

    /// Whether two stored tensors have the same type, shape and bytes.
    func sameBytes(_ first: StoredTensor, _ second: StoredTensor) -> Bool {
        guard first.dataType == second.dataType, first.shape == second.shape,
            first.packing == nil, second.packing == nil
        else { return false }
        let (a, b) = (bytes(of: first), bytes(of: second))
        guard a.count == b.count, let a = a.baseAddress, let b = b.baseAddress, first.byteCount > 0 else {
            return a.count == b.count
        }
        let sample = 256
        for step in 0..<64 {
            let offset = first.byteCount / 64 * step
            let length = min(sample, first.byteCount - offset)
            if memcmp(a + offset, b + offset, length) != 0 { return false }
        }
        let chunk = 8 << 20
        for offset in stride(from: 0, to: first.byteCount, by: chunk) {
            let length = min(chunk, first.byteCount - offset)
            let isSame = memcmp(a + offset, b + offset, length) == 0
            for stored in [first, second] {
                let start = stored.byteOffset + offset
                files[stored.fileIndex].storage.releasePages(in: start..<start + length)
            }
            guard isSame else { return false }
        }
        return true
    }
}
