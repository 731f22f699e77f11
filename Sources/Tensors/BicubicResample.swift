internal import CKernels

/// Pillow's bicubic resize of an 8-bit RGB picture, bit for bit, with three freedoms Pillow lacks: the
/// picture may stand inside a larger one of a single colour that is never stored; only a window of the
/// result is computed; and the result comes in bands of rows, each independent of the others, so that the
/// working memory stays small and threads can share the work.
///
/// Source: Pillow `Resample.c`, 8 bits per channel: rows first into uint8, then columns.
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
    private let columns: Plan
    private let lines: Plan
    private let background: [UInt8]
    private let usesVectors: Bool

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
        let stride = horizontal.real * 3
        let rowBytes = width * 3
        precondition(rows.lowerBound >= 0 && rows.upperBound <= height, "rows outside the result")
        precondition(source.count == vertical.real * stride, "source is not [height, width, 3]")
        precondition(destination.count == rows.count * rowBytes, "destination is not [rows, width, 3]")
        guard let from = source.baseAddress, let to = destination.baseAddress, !rows.isEmpty else { return }
        let needed = lines.sourceRows(for: rows)
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: (needed.count + 1) * rowBytes) { scratch in
            guard let band = scratch.baseAddress else { return }
            let backgroundRow = band + needed.count * rowBytes
            columns.withView { plan in
                fv_bicubic_background_u8(plan, background, backgroundRow)
                let first = from + needed.lowerBound * stride
                let end = from + source.count
                if usesVectors {
                    fv_bicubic_rows_u8_avx2(plan, first, end, stride, Int64(needed.count), background, band)
                } else {
                    fv_bicubic_rows_u8_scalar(plan, first, end, stride, Int64(needed.count), background, band)
                }
            }
            lines.withView { plan in
                let pass = usesVectors ? fv_bicubic_columns_u8_avx2 : fv_bicubic_columns_u8_scalar
                pass(
                    plan, Int64(rows.lowerBound), Int64(rows.count), band, Int64(needed.lowerBound), rowBytes,
                    backgroundRow, to)
            }
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
    private struct Plan: Sendable {
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
