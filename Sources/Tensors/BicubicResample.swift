internal import CKernels

/// Pillow's bicubic resize of an 8-bit RGB picture, bit for bit, with three freedoms Pillow lacks: the
/// picture may stand inside a larger one of a single colour that is never stored; only a window of the
/// result is computed; and the result comes in bands of rows, each independent of the others, so that the
/// working memory stays small and threads can share the work.
///
/// Source: Pillow `Resample.c`, 8 bits per channel: one direction into uint8, then the other. Rows come
/// first, except that since Pillow 13 columns do when the height shrinks by more than twice what the width
/// does (python-pillow pull request 9549; the rule was checked on 3,000 random sizes). The order shows in
/// a level here and there.
package struct BicubicResample: Sendable {
    /// One direction: `real` samples stand at `before` among `padded`; these become `resized` samples, of
    /// which `outputs` are wanted.
    package struct Axis: Sendable, Equatable {
        package var padded: Int
        package var before: Int
        package var real: Int
        package var resized: Int
        package var outputs: Range<Int>

        package init(padded: Int, before: Int, real: Int, resized: Int, outputs: Range<Int>) {
            self.padded = padded
            self.before = before
            self.real = real
            self.resized = resized
            self.outputs = outputs
        }

        /// The plain case: `source` samples become `resized`, all of them wanted.
        package init(_ source: Int, to resized: Int) {
            self.init(padded: source, before: 0, real: source, resized: resized, outputs: 0..<resized)
        }

        /// Counted from the other end.
        var mirrored: Axis {
            Axis(
                padded: padded, before: padded - before - real, real: real, resized: resized,
                outputs: resized - outputs.upperBound..<resized - outputs.lowerBound)
        }

        /// Sizes beyond these are never asked for and would overflow 32-bit positions in the plan.
        var isPossible: Bool {
            real > 0 && before >= 0 && padded < 1 << 30 && before <= padded - real && resized > 0
                && resized < 1 << 46 && outputs.lowerBound >= 0 && outputs.upperBound <= resized
                && !outputs.isEmpty && outputs.count < 1 << 30
        }
    }

    /// Which implementation runs; every one gives the same bits.
    package enum Variant: Sendable { case automatic, scalar }

    package let horizontal: Axis
    package let vertical: Axis
    let columns: Plan
    let lines: Plan
    private let background: [UInt8]
    private let usesVectors: Bool
    let columnsFirst: Bool

    /// - Parameters:
    ///   - background: red, green, blue of everything outside the real picture.
    /// - Returns: nil when an axis is empty, contradicts itself or is absurdly large.
    package init?(
        horizontal: Axis, vertical: Axis, background: (UInt8, UInt8, UInt8) = (0, 0, 0),
        variant: Variant = .automatic
    ) {
        guard horizontal.isPossible, vertical.isPossible else { return nil }
        self.horizontal = horizontal
        self.vertical = vertical
        self.background = [background.0, background.1, background.2]
        columns = Plan(horizontal)
        lines = Plan(vertical)
        usesVectors =
            variant == .automatic && columns.isSplittable && lines.isSplittable && fv_bicubic_has_avx2() != 0
        let shrinks = vertical.padded - vertical.resized
        columnsFirst = shrinks > 0 && shrinks > 2 * (horizontal.padded - horizontal.resized)
    }

    private init(
        _ other: BicubicResample, horizontal: Axis, vertical: Axis, columns: Plan, lines: Plan,
        columnsFirst: Bool
    ) {
        self.horizontal = horizontal
        self.vertical = vertical
        self.columns = columns
        self.lines = lines
        self.columnsFirst = columnsFirst
        background = other.background
        usesVectors = other.usesVectors
    }

    /// The same resize for a source that is stored otherwise than upright: its result, turned upright, has
    /// the bits that this one gives for the source turned upright, because mirroring only reverses sums of
    /// integers, and a turn of the source exchanges the two passes.
    /// - Parameters:
    ///   - mirrorsX: going right in the upright picture is going backwards in the stored one.
    ///   - mirrorsY: the same for going down.
    ///   - swapsSides: rows of the upright picture are columns of the stored one.
    package func stored(mirrorsX: Bool, mirrorsY: Bool, swapsSides: Bool) -> BicubicResample {
        let across = mirrorsX ? (horizontal.mirrored, columns.mirrored(horizontal)) : (horizontal, columns)
        let down = mirrorsY ? (vertical.mirrored, lines.mirrored(vertical)) : (vertical, lines)
        let (first, second) = swapsSides ? (down, across) : (across, down)
        return BicubicResample(
            self, horizontal: first.0, vertical: second.0, columns: first.1, lines: second.1,
            columnsFirst: swapsSides ? !columnsFirst : columnsFirst)
    }

    /// Width of the result.
    package var width: Int { horizontal.outputs.count }
    /// Height of the result.
    package var height: Int { vertical.outputs.count }

    /// Computes rows `rows` of the result.
    /// - Parameters:
    ///   - rows: within 0..<height; every call repeats the row pass of the source rows that its windows
    ///     share with the neighbours', so bands of 32 rows and more are thrifty.
    ///   - source: [vertical.real, horizontal.real, 3], uint8.
    ///   - destination: [rows.count, width, 3], uint8.
    package func compute(
        rows: Range<Int>, of source: UnsafeBufferPointer<UInt8>,
        into destination: UnsafeMutableBufferPointer<UInt8>
    ) {
        precondition(rows.lowerBound >= 0 && rows.upperBound <= height, "rows outside the result")
        precondition(
            source.count == vertical.real * horizontal.real * 3, "source is not [height, width, 3]")
        precondition(destination.count == rows.count * width * 3, "destination is not [rows, width, 3]")
        guard !rows.isEmpty else { return }
        if columnsFirst {
            computeColumnsFirst(rows, source, destination)
        } else {
            computeRowsFirst(rows, source, destination)
        }
    }

    typealias Bytes = UnsafeBufferPointer<UInt8>
    typealias MutableBytes = UnsafeMutableBufferPointer<UInt8>

    private func computeRowsFirst(_ rows: Range<Int>, _ source: Bytes, _ destination: MutableBytes) {
        let stride = horizontal.real * 3
        let rowBytes = width * 3
        let needed = lines.sourceRows(for: rows)
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: needed.count * rowBytes) { band in
            let first = Bytes(rebasing: source[(needed.lowerBound * stride)...])
            alongRows(first, stride: stride, count: needed.count, into: band)
            finishRowsFirst(rows, Bytes(band), from: needed.lowerBound, into: destination)
        }
    }

    private func computeColumnsFirst(_ rows: Range<Int>, _ source: Bytes, _ destination: MutableBytes) {
        let needed = lines.sourceRows(for: rows)
        let first = Bytes(rebasing: source[(needed.lowerBound * horizontal.real * 3)...])
        computeColumnsFirst(rows, first, from: needed.lowerBound, into: destination)
    }

    /// The column pass to rows `rows` of the result, of rows that went through the row pass.
    /// - Parameter band: row `start` of the source and those that follow, as far as the windows reach.
    func finishRowsFirst(
        _ rows: Range<Int>, _ band: Bytes, from start: Int, into destination: MutableBytes
    ) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: width * 3) { backgroundRow in
            columns.fillBackground(background, into: backgroundRow)
            alongColumns(
                rows, band, from: start, stride: width * 3, Bytes(backgroundRow), into: destination)
        }
    }

    /// Both passes to rows `rows` of the result, columns first.
    /// - Parameter source: row `start` of the source and those that follow, as far as the windows reach.
    func computeColumnsFirst(
        _ rows: Range<Int>, _ source: Bytes, from start: Int, into destination: MutableBytes
    ) {
        let stride = horizontal.real * 3
        let size = (rows.count + 1) * stride + height * 3
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: size) { scratch in
            let band = MutableBytes(rebasing: scratch[..<(rows.count * stride)])
            let backgroundRow = MutableBytes(rebasing: scratch[band.count..<(band.count + stride)])
            let backgroundColumn = MutableBytes(rebasing: scratch[(band.count + stride)...])
            for index in backgroundRow.indices { backgroundRow[index] = background[index % 3] }
            lines.fillBackground(background, into: backgroundColumn)
            alongColumns(rows, source, from: start, stride: stride, Bytes(backgroundRow), into: band)
            // What lies beside the picture went through the first pass too: its colour may differ by row.
            for (index, row) in rows.enumerated() {
                alongRows(
                    Bytes(rebasing: band[(index * stride)...]), stride: stride, count: 1,
                    Array(backgroundColumn[(row * 3)..<(row * 3 + 3)]),
                    into: MutableBytes(rebasing: destination[(index * width * 3)...]))
            }
        }
    }

    /// The row pass of `count` rows that begin at `source`.
    func alongRows(_ source: Bytes, stride: Int, count: Int, into destination: MutableBytes) {
        alongRows(source, stride: stride, count: count, background, into: destination)
    }

    /// The row pass of `count` rows that begin at `source`.
    private func alongRows(
        _ source: Bytes, stride: Int, count: Int, _ background: [UInt8], into destination: MutableBytes
    ) {
        guard let from = source.baseAddress, let to = destination.baseAddress, count > 0 else { return }
        let pass = usesVectors ? fv_bicubic_rows_u8_avx2 : fv_bicubic_rows_u8_scalar
        columns.withView { pass($0, from, from + source.count, stride, Int64(count), background, to) }
    }

    /// The column pass to rows `rows` of the result; `source` begins with row `start`. A row of the result
    /// is as long as `backgroundRow`.
    private func alongColumns(
        _ rows: Range<Int>, _ source: Bytes, from start: Int, stride: Int, _ backgroundRow: Bytes,
        into destination: MutableBytes
    ) {
        // A band that sees only background has no source rows; any address will do for none.
        guard let outside = backgroundRow.baseAddress, let to = destination.baseAddress else { return }
        let pass = usesVectors ? fv_bicubic_columns_u8_avx2 : fv_bicubic_columns_u8_scalar
        lines.withView {
            pass(
                $0, Int64(rows.lowerBound), Int64(rows.count), source.baseAddress ?? outside, Int64(start),
                stride, backgroundRow.count, outside, to)
        }
    }

    /// The whole result at once: [height, width, 3].
    package func callAsFunction(_ source: UnsafeBufferPointer<UInt8>) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: height * width * 3) { buffer, count in
            count = height * width * 3
            for start in stride(from: 0, to: height, by: Self.bandHeight) {
                let rows = start..<min(start + Self.bandHeight, height)
                let part = buffer[rows.lowerBound * width * 3..<rows.upperBound * width * 3]
                compute(rows: rows, of: source, into: UnsafeMutableBufferPointer(rebasing: part))
            }
        }
    }

    /// Rows computed together: the rows of the source needed twice, by both neighbours, stay few, and the
    /// intermediate rows of a 12-megapixel photo stay in the second-level cache.
    package static let bandHeight = 64
}

extension BicubicResample {
    /// Windows and weights of one axis.
    struct Plan: Sendable {
        let windows: [fv_bicubic_window]
        let weights: [Int32]
        let halves: [Int16]
        let taps: Int
        let isSplittable: Bool

        init(_ axis: Axis) {
            var shape = fv_bicubic_axis(
                padded: Int64(axis.padded), before: Int64(axis.before), real: Int64(axis.real),
                resized: Int64(axis.resized), first: Int64(axis.outputs.lowerBound),
                outputs: Int64(axis.outputs.count))
            let taps = Int(fv_bicubic_taps(&shape))
            var windows = [fv_bicubic_window](repeating: .init(), count: axis.outputs.count)
            var weights = [Int32](repeating: 0, count: axis.outputs.count * taps)
            var halves = [Int16](repeating: 0, count: axis.outputs.count * taps * 2)
            var scratch = [Double](repeating: 0, count: taps)
            let fits = fv_bicubic_plan(&shape, Int64(taps), &windows, &weights, &halves, &scratch)
            self.windows = windows
            self.weights = weights
            self.halves = halves
            self.taps = taps
            isSplittable = fits != 0
        }

        private init(windows: [fv_bicubic_window], weights: [Int32], halves: [Int16], of other: Plan) {
            self.windows = windows
            self.weights = weights
            self.halves = halves
            taps = other.taps
            isSplittable = other.isSplittable
        }

        /// The same windows and weights counted from the other end of the axis.
        func mirrored(_ axis: Axis) -> Plan {
            var windows: [fv_bicubic_window] = []
            var weights = [Int32](repeating: 0, count: self.weights.count)
            var halves = [Int16](repeating: 0, count: self.halves.count)
            for (index, output) in self.windows.indices.reversed().enumerated() {
                var window = self.windows[output]
                let count = Int(window.count)
                if count > 0 { window.start = Int32(axis.real) - window.start - window.count }
                windows.append(window)
                for tap in 0..<count {
                    let weight = self.weights[output * taps + count - 1 - tap]
                    weights[index * taps + tap] = weight
                    // Groups of four: the high parts, then the low bytes.
                    let place = (index * taps + tap / 4 * 4) * 2 + tap % 4
                    halves[place] = Int16(truncatingIfNeeded: weight >> 8)
                    halves[place + 4] = Int16(truncatingIfNeeded: weight & 255)
                }
            }
            return Plan(windows: windows, weights: weights, halves: halves, of: self)
        }

        /// The source rows that outputs `rows` look at; empty when they see only background.
        func sourceRows(for rows: Range<Int>) -> Range<Int> {
            var lower = Int.max
            var upper = 0
            for window in windows[rows] where window.count > 0 {
                lower = min(lower, Int(window.start))
                upper = max(upper, Int(window.start + window.count))
            }
            return lower < upper ? lower..<upper : 0..<0
        }

        /// What a line of nothing but background becomes: [outputs, 3].
        func fillBackground(_ background: [UInt8], into line: UnsafeMutableBufferPointer<UInt8>) {
            withView { fv_bicubic_background_u8($0, background, line.baseAddress) }
        }

        func withView(_ body: (fv_bicubic_plan_view) -> Void) {
            windows.withUnsafeBufferPointer { windows in
                weights.withUnsafeBufferPointer { weights in
                    halves.withUnsafeBufferPointer { halves in
                        body(
                            fv_bicubic_plan_view(
                                windows: windows.baseAddress, weights: weights.baseAddress,
                                halves: halves.baseAddress, taps: Int64(taps), outputs: Int64(windows.count)))
                    }
                }
            }
        }
    }
}
