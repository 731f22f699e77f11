package import Checkpoints
internal import Synchronization
package import Tensors

/// Weights whose outlier channels are evened out before they become integers: the function is the same, exactly.
///
/// A channel that a norm, or the rows of a matrix, make a thousand times as large as the others, and that the next
/// matrices' columns make small again, takes the steps of all activations beside it and loses its own weights. So a power
/// of two moves from the one to the others, where both sides say so: where a large gain is meant, the columns are of
/// ordinary size and nothing is touched. From weights alone, and only where all weights of a site are floating-point
/// numbers.
package final class EqualizedWeights: WeightSource {
    private struct State {
        var measured: Set<Int> = []
        var powers: [String: PowersOfTwo] = [:]
        /// What measuring had made, until it is asked for: folding or merging it twice would cost time.
        var made: [String: Tensor] = [:]
        var exponents: [Int] = []
    }

    private let base: any WeightSource
    private let sites: [EqualizedLayers]
    /// By name of a weight: the sites that change it.
    private let sitesOf: [String: [Int]]
    private let aliases: [String: String]
    private let state = Mutex(State())

    package init(_ base: any WeightSource, configuration: ModelConfiguration) {
        self.base = base
        sites = EqualizedLayers.all(configuration, contains: base.contains)
        var sitesOf: [String: [Int]] = [:]
        var aliases: [String: String] = [:]
        for (number, site) in sites.enumerated() {
            for name in site.producers.map(\.name) + site.consumers.map(\.name) {
                sitesOf[name, default: []].append(number)
            }
            for consumer in site.consumers where !base.contains(consumer.name) {
                aliases[consumer.name] = consumer.alias
            }
        }
        self.sitesOf = sitesOf
        self.aliases = aliases
    }

    /// The weights that integers are made of: `source` itself where it is balanced already.
    package static func equalizing(
        _ source: any WeightSource, configuration: ModelConfiguration
    ) -> EqualizedWeights {
        source as? EqualizedWeights ?? EqualizedWeights(source, configuration: configuration)
    }

    package func contains(_ name: String) -> Bool {
        guard aliases[name] != nil else { return base.contains(name) }
        return state.withLock { state in
            measure(name, &state)
            return state.powers[name] != nil
        }
    }

    package func tensor(_ name: String, shape: [Int]) throws -> Tensor {
        let (powers, made) = taken(name, shape: shape)
        let tensor = try made ?? base.tensor(aliases[name] ?? name, shape: shape)
        return try powers.map { try tensor.multiplied(by: $0) } ?? tensor
    }

    package func matrix(_ name: String, shape: [Int]) throws -> MatrixValues {
        let (powers, made) = taken(name, shape: shape)
        let values = try made.map { .numbers($0) } ?? base.matrix(aliases[name] ?? name, shape: shape)
        guard let powers, case .numbers(let tensor) = values else { return values }
        return .numbers(try tensor.multiplied(by: powers))
    }

    package func origin(of name: String) -> WeightOrigin { base.origin(of: aliases[name] ?? name) }

    /// The exponents that were moved so far, of all channels that were touched.
    package var exponents: [Int] { state.withLock { $0.exponents } }

    /// What was changed and is no matrix: norms, biases and kernels, for whoever stores them beside the packed matrices.
    package func changedVectors() throws -> [String: Tensor] {
        let changed = state.withLock { $0.powers }
        var vectors: [String: Tensor] = [:]
        for producer in sites.flatMap(\.producers) where producer.shape.count != 2 {
            if changed[producer.name] != nil {
                vectors[producer.name] = try tensor(producer.name, shape: producer.shape)
            }
        }
        return vectors
    }

    /// What is done to a weight, and the weight where it was made already.
    private func taken(_ name: String, shape: [Int]) -> (PowersOfTwo?, Tensor?) {
        guard sitesOf[name] != nil else { return (nil, nil) }
        return state.withLock { state in
            measure(name, &state)
            let made = state.made.removeValue(forKey: name)
            return (state.powers[name], made?.shape == shape ? made : nil)
        }
    }

    private func measure(_ name: String, _ state: inout State) {
        for number in sitesOf[name] ?? [] where state.measured.insert(number).inserted {
            measure(sites[number], &state)
        }
    }

    private func measure(_ site: EqualizedLayers, _ state: inout State) {
        guard let producer = site.producers.first,
            let made = numbers(producer.name, shape: producer.shape, &state)
        else { return }
        var gains = ChannelSizes(channels: site.channels)
        gains.addRows(of: made, from: producer.first)
        let gain = gains.relative
        // Matrices are only looked at for what looks strange.
        guard gain.contains(where: { abs($0.rounded()) >= Self.least }) else { return }
        var columns = ChannelSizes(channels: site.channels)
        for consumer in site.consumers {
            guard let matrix = numbers(consumer.name, shape: consumer.shape, &state) else { return }
            columns.addColumns(of: matrix, channel: consumer.channel)
        }
        let moved = zip(gain, columns.relative).map { Self.exponent(gain: $0, columns: $1) }
        guard moved.contains(where: { $0 != 0 }) else { return }
        for producer in site.producers {
            for (channel, exponent) in moved.enumerated() where exponent != 0 {
                state.powers[producer.name, default: .init()].rows[producer.first + channel] = -exponent
            }
        }
        for consumer in site.consumers {
            for input in 0..<consumer.shape[1] where moved[consumer.channel(of: input)] != 0 {
                state.powers[consumer.name, default: .init()].columns[input] =
                    moved[consumer.channel(of: input)]
            }
        }
        state.exponents += moved.filter { $0 != 0 }
    }

    /// How far a channel is out on both sides, as an exponent: the smaller of the two, 0 where one is ordinary.
    private static func exponent(gain: Float, columns: Float) -> Int {
        let (gain, columns) = (gain.rounded(), -columns.rounded())
        guard abs(gain) >= least, abs(columns) >= least, gain.sign == columns.sign else { return 0 }
        let moved = abs(gain) < abs(columns) ? gain : columns
        return Int(min(max(moved, -most), most))
    }

    /// The least exponent that is taken for a rescaled channel.
    private static let least: Float = 2
    /// Factors beyond this would leave float32 where a weight is damaged.
    private static let most: Float = 64

    /// A weight of floating-point numbers. Whatever is wrong with it, its reader meets again and reports.
    private func numbers(_ name: String, shape: [Int], _ state: inout State) -> Tensor? {
        if let made = state.made[name] { return made }
        guard case .numbers(let tensor) = try? base.matrix(aliases[name] ?? name, shape: shape),
            tensor.dataType.isFloatingPoint
        else { return nil }
        state.made[name] = tensor
        return tensor
    }
}
