extension BicubicResample {
    /// Resizes a picture whose rows come one after the other, holding only those that the windows of a band
    /// of the result look at: after the row pass when rows come first, as they are when columns do.
    ///
    /// The working memory is ``streamingBytes``; the result has the bits of ``compute(rows:of:into:)``.
    /// - Parameters:
    ///   - read: fills its buffer, [count, horizontal.real, 3] uint8, with the next `count` source rows. It is
    ///     asked for every row of the source once, also for those that the result does not need.
    ///   - write: takes rows of the result, [rows.count, width, 3] uint8, from the first to the last.
    package func stream<Failure: Error>(
        reading read: (_ count: Int, UnsafeMutableBufferPointer<UInt8>) throws(Failure) -> Void,
        writing write: (_ rows: Range<Int>, UnsafeMutableBufferPointer<UInt8>) -> Void
    ) throws(Failure) {
        let bands = bands()
        let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: streamingBytes(of: bands))
        defer { memory.deallocate() }
        var window = Window(self, bands: bands, memory: memory)
        let output = UnsafeMutableBufferPointer<UInt8>(
            rebasing: memory[(memory.count - Self.bandHeight * width * 3)...])
        for band in bands {
            try window.move(to: band.needed, reading: read)
            let part = UnsafeMutableBufferPointer(rebasing: output[..<(band.rows.count * width * 3)])
            if columnsFirst {
                computeColumnsFirst(band.rows, window.held, from: window.start, into: part)
            } else {
                finishRowsFirst(band.rows, window.held, from: window.start, into: part)
            }
            write(band.rows, part)
        }
        try window.skip(to: vertical.real, reading: read)
    }

    /// Memory that ``stream(reading:writing:)`` takes, in bytes.
    package var streamingBytes: Int { streamingBytes(of: bands()) }

    /// Rows of the result computed together, and the source rows that they need.
    private struct Band {
        let rows: Range<Int>
        let needed: Range<Int>
    }

    /// Bytes of source rows that a band may hold, if one row of the result does not need more.
    private static var windowBytes: Int { 4 << 20 }
    /// Bytes of source rows read at once.
    private static var chunkBytes: Int { 1 << 20 }

    /// What is kept of a source row: the row after the row pass, or as it is.
    private var keptBytes: Int { (columnsFirst ? horizontal.real : width) * 3 }

    private var chunkRows: Int { max(min(Self.chunkBytes / (horizontal.real * 3), vertical.real), 1) }

    private func bands() -> [Band] {
        var bands: [Band] = []
        var start = 0
        while start < height {
            var rows = start..<min(start + Self.bandHeight, height)
            var needed = lines.sourceRows(for: rows)
            while rows.count > 1, needed.count * keptBytes > Self.windowBytes {
                rows = start..<(start + rows.count / 2)
                needed = lines.sourceRows(for: rows)
            }
            bands.append(Band(rows: rows, needed: needed))
            start = rows.upperBound
        }
        return bands
    }

    private func streamingBytes(of bands: [Band]) -> Int {
        let window = (bands.map(\.needed.count).max() ?? 0) * keptBytes
        return window + chunkRows * horizontal.real * 3 + Self.bandHeight * width * 3
    }

    /// The source rows at hand, which move down the picture.
    private struct Window {
        private let resample: BicubicResample
        private let kept: UnsafeMutableBufferPointer<UInt8>
        private let chunk: UnsafeMutableBufferPointer<UInt8>
        /// First row that is held.
        private(set) var start = 0
        private var count = 0
        /// Rows read so far.
        private var next = 0

        init(_ resample: BicubicResample, bands: [Band], memory: UnsafeMutableBufferPointer<UInt8>) {
            self.resample = resample
            let most = (bands.map(\.needed.count).max() ?? 0) * resample.keptBytes
            kept = UnsafeMutableBufferPointer(rebasing: memory[..<most])
            let chunkBytes = resample.chunkRows * resample.horizontal.real * 3
            chunk = UnsafeMutableBufferPointer(rebasing: memory[most..<(most + chunkBytes)])
        }

        var held: UnsafeBufferPointer<UInt8> {
            UnsafeBufferPointer(rebasing: kept[..<(count * resample.keptBytes)])
        }

        /// Holds `rows` and nothing else. Windows of later bands never begin earlier.
        mutating func move<Failure: Error>(
            to rows: Range<Int>,
            reading read: (Int, UnsafeMutableBufferPointer<UInt8>) throws(Failure) -> Void
        ) throws(Failure) {
            guard !rows.isEmpty else { return }
            let dropped = min(max(rows.lowerBound - start, 0), count)
            let length = resample.keptBytes
            if dropped > 0, dropped < count, let base = kept.baseAddress {
                let rest = (count - dropped) * length
                base.update(from: base + dropped * length, count: rest)
            }
            count -= dropped
            start += dropped
            if count == 0 {
                try skip(to: rows.lowerBound, reading: read)
                start = next
            }
            while next < rows.upperBound {
                let rowsNow = min(resample.chunkRows, rows.upperBound - next)
                let to = UnsafeMutableBufferPointer(
                    rebasing: kept[(count * length)..<((count + rowsNow) * length)])
                if resample.columnsFirst {
                    try read(rowsNow, to)
                } else {
                    let stride = resample.horizontal.real * 3
                    let source = UnsafeMutableBufferPointer(rebasing: chunk[..<(rowsNow * stride)])
                    try read(rowsNow, source)
                    resample.alongRows(UnsafeBufferPointer(source), stride: stride, count: rowsNow, into: to)
                }
                next += rowsNow
                count += rowsNow
            }
        }

        /// Reads and forgets the rows before `row`.
        mutating func skip<Failure: Error>(
            to row: Int, reading read: (Int, UnsafeMutableBufferPointer<UInt8>) throws(Failure) -> Void
        ) throws(Failure) {
            while next < row {
                let rowsNow = min(resample.chunkRows, row - next)
                let stride = resample.horizontal.real * 3
                try read(rowsNow, UnsafeMutableBufferPointer(rebasing: chunk[..<(rowsNow * stride)]))
                next += rowsNow
            }
        }
    }
}
