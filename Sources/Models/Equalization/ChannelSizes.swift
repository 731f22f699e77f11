internal import Tensors

/// How large the channels of weights are: the mean binary exponent of a sample of each one's numbers.
///
/// A mean of exponents and not of squares, because a row that is multiplied with 2ⁿ then adds the same to every column,
/// whatever it was: what was done to rows cannot hide what was done to columns. Two cache lines of a row and a few rows of
/// a matrix tell a factor of 4 from none, and a look at everything would cost as much as packing.
struct ChannelSizes {
    private var sums: [Int]
    private var counts: [Int]

    init(channels: Int) {
        sums = [Int](repeating: 0, count: channels)
        counts = sums
    }

    /// Adds rows of a weight [rows, …]: row `first` is channel 0.
    mutating func addRows(of weight: Tensor, from first: Int) {
        let width = weight.count / max(weight.shape.first ?? 1, 1)
        let runs = Self.spread(width / Self.run, Self.numbersPerRow / Self.run)
        weight.withExponents { exponent in
            for channel in sums.indices {
                let start = (first + channel) * width
                if runs.count < Self.numbersPerRow / Self.run {
                    for index in start..<start + width { add(exponent(index), to: channel) }
                } else {
                    for run in runs {
                        let begin = start + run * Self.run
                        for index in begin..<begin + Self.run { add(exponent(index), to: channel) }
                    }
                }
            }
        }
    }

    /// Adds columns of a matrix [outputs, inputs].
    /// - Parameter channel: which channel an input belongs to
    mutating func addColumns(of weight: Tensor, channel: (Int) -> Int) {
        let outputs = weight.shape.first ?? 0
        let inputs = weight.count / max(outputs, 1)
        let channels = (0..<inputs).map(channel)
        weight.withExponents { exponent in
            for row in Self.spread(outputs, Self.rowsPerMatrix) {
                for input in 0..<inputs { add(exponent(row * inputs + input), to: channels[input]) }
            }
        }
    }

    /// log₂ of every channel's size against the median; 0 for channels of zeros.
    var relative: [Float] {
        let sizes = zip(sums, counts).map { $1 > 0 ? Float($0) / Float($1) : nil }
        let sorted = sizes.compactMap { $0 }.sorted()
        guard !sorted.isEmpty else { return sizes.map { _ in 0 } }
        let median = (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
        return sizes.map { $0.map { $0 - median } ?? 0 }
    }

    private mutating func add(_ exponent: Int?, to channel: Int) {
        guard let exponent else { return }
        sums[channel] += exponent
        counts[channel] += 1
    }

    /// Numbers that are next to each other in memory.
    private static let run = 16
    private static let numbersPerRow = 64
    private static let rowsPerMatrix = 128

    /// At most `limit` numbers below `count`, evenly spread.
    private static func spread(_ count: Int, _ limit: Int) -> [Int] {
        count <= limit ? Array(0..<count) : (0..<limit).map { $0 * count / limit }
    }
}

extension Tensor {
    /// Calls `body` with a function that gives an element's binary exponent: nil for 0, NaN and infinity.
    fileprivate func withExponents(_ body: ((Int) -> Int?) -> Void) {
        let source = bytes
        let type = dataType
        body { index in
            let value: Float
            switch type {
            case .bfloat16:
                let bits = source.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)
                value = Float(bitPattern: UInt32(bits) << 16)
            case .float16:
                value = Tensor.float(half: source.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
            default: value = source.loadUnaligned(fromByteOffset: 4 * index, as: Float.self)
            }
            let field = Int(value.bitPattern >> 23 & 0xFF)
            return field == 0 || field == 0xFF ? nil : field - 127
        }
        withExtendedLifetime(self) {}
    }
}
