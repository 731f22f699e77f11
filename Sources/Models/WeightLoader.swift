package import Checkpoints
internal import Synchronization
package import Tensors

/// Where a network takes its weights from: canonical names in, tensors of exactly the asked shape out.
///
/// A checkpoint's `CanonicalWeights` is one; tests bring their own.
package protocol WeightSource: Sendable {
    /// - Throws: an error that names the tensor when it is missing or has another shape.
    func tensor(_ name: String, shape: [Int]) throws -> Tensor
    func contains(_ name: String) -> Bool
    /// A matrix in the form it is stored in, which may be integers.
    func matrix(_ name: String, shape: [Int]) throws -> MatrixValues
    /// The file that a weight comes from and what it is called there, for messages.
    func origin(of name: String) -> WeightOrigin
}

extension WeightSource {
    package func origin(of name: String) -> WeightOrigin { WeightOrigin(file: "weights", tensor: name) }

    package func matrix(_ name: String, shape: [Int]) throws -> MatrixValues {
        .numbers(try tensor(name, shape: shape))
    }
}

/// Collects the weights that loading packs, for whoever stores integers or watches products.
package final class PanelRecorder: Sendable {
    private let found = Mutex<[String: PackedPanels]>([:])

    package init() {}

    /// All packed weights, by canonical name of the matrix, or of the first of a gated pair.
    package var all: [String: PackedPanels] { found.withLock { $0 } }
    /// Those that can be stored.
    package var panels: [String: PackedPanels] { all.filter { $0.value.isStorable } }

    func record(_ name: String, _ panels: PackedPanels) {
        found.withLock { $0[name] = panels }
    }
}

/// Collects what loading saw of weights that changes answers.
package final class LoadFindings: Sendable {
    private let zeros = Mutex<[String]>([])

    package init() {}

    func recordZeros(_ what: String) {
        zeros.withLock { $0.append(what) }
    }

    /// Sentences for whoever loaded the weights, at most one of a kind.
    package var remarks: [String] {
        let found = zeros.withLock { $0 }
        guard !found.isEmpty else { return [] }
        let more = found.count > 3 ? ", and \(found.count - 3) more like it" : ""
        return [
            found.prefix(3).joined(separator: ", ") + more
                + "; a download that was broken off looks like this, so fetch the file again if answers make no sense"
        ]
    }
}

/// Turns named tensors into the packed form that the operations read, for one precision.
///
/// `prefix` grows as a network hands the loader to its parts, so each part asks for its own short names.
package struct WeightLoader: Sendable {
    package let source: any WeightSource
    /// How matrices are stored.
    package private(set) var format: WeightFormat
    package let compute: Compute
    private let recorder: PanelRecorder?
    private let findings: LoadFindings?
    /// Of products whose integers are chosen by it, by canonical name.
    private let feedback: [String: ErrorFeedback]
    /// Whether integers are for memory alone, and products take their inputs as they are.
    private let isWeightOnly: Bool
    private var prefix = ""

    package init(
        _ source: any WeightSource, format: WeightFormat, compute: Compute, recorder: PanelRecorder? = nil,
        findings: LoadFindings? = nil, feedback: [String: ErrorFeedback] = [:], isWeightOnly: Bool = false
    ) {
        self.source = source
        self.format = format
        self.compute = compute
        self.recorder = recorder
        self.findings = findings
        self.feedback = feedback
        self.isWeightOnly = isWeightOnly
    }

    /// How small matrices are stored that many numbers depend on: never as integers.
    package var sensitiveFormat: WeightFormat { format == .float32 ? .float32 : .bfloat16 }

    /// The loader for the part called `name`.
    package func part(_ name: String) -> WeightLoader {
        var part = self
        part.prefix += name + "."
        return part
    }

    /// The same with 8 bits in place of 4.
    package var inEightBits: WeightLoader {
        var inEightBits = self
        inEightBits.format = format.inEightBits
        return inEightBits
    }

    package func tensor(_ name: String, shape: [Int]) throws -> Tensor {
        try source.tensor(prefix + name, shape: shape)
    }

    package func contains(_ name: String) -> Bool { source.contains(prefix + name) }

    /// Numbers that are read as they are, neither NaN nor infinite.
    package func checked(_ name: String, shape: [Int]) throws -> Tensor {
        let values = try tensor(name, shape: shape)
        try check(WeightsSeen(values, compute: compute), of: name, reportsZeros: false)
        return try values.widened()
    }

    package func vector(_ name: String, count: Int) throws -> Vector {
        let values = try tensor(name, shape: [count])
        // Biases of zeros are nothing strange.
        try check(WeightsSeen(values, compute: compute), of: name, reportsZeros: false)
        return try Vector(values)
    }

    /// What was seen of a weight: NaN and infinity are errors, zeros a remark.
    /// - Throws: `CheckpointError.notFinite`.
    private func check(_ seen: WeightsSeen?, of name: String, reportsZeros: Bool = true) throws {
        guard let seen, seen.hasNotFinite || reportsZeros && seen.endsInZeros else { return }
        let origin = source.origin(of: prefix + name)
        if seen.hasNotFinite { throw CheckpointError.notFinite(file: origin.file, tensor: origin.tensor) }
        let amount =
            seen.filledOutputs == 0
            ? "every number of \(origin.tensor) is 0"
            : "the last \(seen.outputs - seen.filledOutputs) of \(seen.outputs) rows of \(origin.tensor) are 0"
        findings?.recordZeros("\(origin.file): \(amount)")
    }

    /// A table [rows, channels] whose rows are gathered: integers stay integers.
    /// - Parameter isPacked: the same weight is also packed as a matrix, which looks at its numbers
    package func embedding(
        _ name: String, rows: Int, channels: Int, isPacked: Bool = false
    ) throws -> EmbeddingTable {
        let shape = [rows, channels]
        let table: EmbeddingTable
        if case .integers(let matrix) = try source.matrix(prefix + name, shape: shape) {
            table = EmbeddingTable(matrix)
        } else {
            table = try EmbeddingTable(tensor(name, shape: shape))
        }
        guard !isPacked else { return table }
        let seen = table.seen(compute: compute)
        for part in seen where part.hasNotFinite { try check(part, of: name) }
        // Of integers, scales and biases are seen: only where both end early do the numbers.
        try check(seen.max { $0.filledOutputs < $1.filledOutputs }, of: name)
        return table
    }

    /// A linear layer `name.weight` [outputs, inputs], with `name.bias` [outputs] when the checkpoint has one.
    /// - Parameters:
    ///   - isSensitive: see ``sensitiveFormat``.
    ///   - format: nil for the loader's own
    ///   - isFused: see ``matrix(_:shape:format:isFused:recordedAs:)``.
    package func linear(
        _ name: String, outputs: Int, inputs: Int, isSensitive: Bool = false, format: WeightFormat? = nil,
        isFused: Bool = false
    ) throws -> Linear {
        Linear(
            weight: try matrix(
                name + ".weight", shape: [outputs, inputs],
                format: isSensitive ? sensitiveFormat : format ?? self.format, isFused: isFused),
            bias: contains(name + ".bias") ? try vector(name + ".bias", count: outputs) : nil)
    }

    /// A 1×1 convolution `name.weight` [outputs, inputs, 1, 1]: on NHWC activations, a linear layer.
    package func pointwise(_ name: String, outputs: Int, inputs: Int) throws -> Linear {
        Linear(
            weight: try matrix(name + ".weight", shape: [outputs, inputs, 1, 1], format: format),
            bias: try vector(name + ".bias", count: outputs))
    }

    /// Numbers that were asked for already, in a format.
    package func matrix(_ name: String, of values: Tensor, format: WeightFormat) throws -> PackedMatrix {
        let weight = try PackedMatrix(values, format: format, compute: compute)
        try check(weight.seen, of: name)
        return weight
    }

    /// The two matrices of a gated feed-forward network, each [outputs, inputs].
    package func gated(_ gate: String, _ up: String, outputs: Int, inputs: Int) throws -> PackedGatedMatrix {
        let shape = [outputs, inputs]
        let weight = try packedGated(gate, up, shape: shape)
        for (seen, name) in zip(weight.seen, [gate, up]) { try check(seen, of: name) }
        recorder?.record(prefix + gate, weight.panels)
        return isWeightOnly ? weight.weightOnly() : weight
    }

    private func packedGated(_ gate: String, _ up: String, shape: [Int]) throws -> PackedGatedMatrix {
        switch (try source.matrix(prefix + gate, shape: shape), try source.matrix(prefix + up, shape: shape))
        {
        case (.integers(let gate), .integers(let up)) where keepsIntegers(gate.bits, as: format):
            if let weight = try PackedGatedMatrix(gate: gate, up: up, compute: compute) { return weight }
        case (.panels(let panels, isSecond: false), .panels(_, isSecond: true))
        where keeps(panels.layout.format.bits, as: format):
            if let weight = PackedGatedMatrix(panels, compute: compute) { return weight }
        case (.numbers(let first), .numbers(let second)):
            return try PackedGatedMatrix(
                first, second, format: format, feedback: feedback[prefix + gate], compute: compute)
        default: break
        }
        return try PackedGatedMatrix(
            tensor(gate, shape: shape), tensor(up, shape: shape), format: format,
            feedback: feedback[prefix + gate], compute: compute)
    }

    /// A matrix [outputs, inputs] (further extents are 1) in a format.
    ///
    /// Where integers are asked for and the checkpoint stores integers of no more bits, these are taken as they are:
    /// quantising them again would lose accuracy and win nothing.
    /// - Parameters:
    ///   - isFused: the matrix is used together with another one of the same format, so no other will do.
    ///   - recordedAs: the name to store it under, where that is not its own.
    package func matrix(
        _ name: String, shape: [Int], format: WeightFormat, isFused: Bool = false,
        recordedAs other: String? = nil
    ) throws -> PackedMatrix {
        let weight = try packed(name, shape: shape, format: format, isFused: isFused)
        try check(weight.seen, of: name)
        recorder?.record(prefix + (other ?? name), weight.panels)
        return isWeightOnly ? weight.weightOnly() : weight
    }

    private func packed(
        _ name: String, shape: [Int], format: WeightFormat, isFused: Bool
    ) throws -> PackedMatrix {
        switch try source.matrix(prefix + name, shape: shape) {
        case .numbers(let values):
            return try PackedMatrix(
                values, format: format, feedback: feedback[prefix + name], compute: compute)
        case .integers(let weight)
        where !isFused && keepsIntegers(weight.bits, as: format):
            return try PackedMatrix(weight, compute: compute)
        case .panels(let panels, isSecond: false)
        where isFused
            ? panels.layout.format == format && panels.layout.isRotated
            : keeps(panels.layout.format.bits, as: format):
            if let weight = PackedMatrix(panels, compute: compute) { return weight }
        default: break
        }
        return try PackedMatrix(tensor(name, shape: shape), format: format, compute: compute)
    }

    /// Whether integers of so many bits serve where `format` is asked for.
    private func keeps(_ bits: Int, as format: WeightFormat) -> Bool {
        format.group != nil && bits <= format.bits
    }

    /// The same for unsigned integers, which not all kernels can multiply.
    private func keepsIntegers(_ bits: Int, as format: WeightFormat) -> Bool {
        keeps(bits, as: format) && compute.keepsIntegers(bits: bits)
    }

    /// A depthwise convolution `name.weight` [outputs, 1, kernel, kernel]; `outputs` is a multiple of `inputs`.
    package func depthwise(
        _ name: String, outputs: Int, inputs: Int, kernel: Int, stride: Int = 1
    ) throws -> DepthwiseWeights {
        try DepthwiseWeights(
            weight: taps(name + ".weight", shape: [outputs, 1, kernel, kernel]),
            bias: bias(name + ".bias", count: outputs), inputChannels: inputs, stride: stride)
    }

    /// A convolution's kernel as it is.
    package func taps(_ name: String, shape: [Int]) throws -> Tensor {
        let values = try tensor(name, shape: shape)
        try check(WeightsSeen(values, compute: compute), of: name)
        return values
    }

    /// A convolution's bias as it is.
    package func bias(_ name: String, count: Int) throws -> Tensor {
        let values = try tensor(name, shape: [count])
        try check(WeightsSeen(values, compute: compute), of: name, reportsZeros: false)
        return values
    }
}

extension PackedGatedMatrix {
    /// Two matrices of numbers, of one type or two: an adapter, or equalization, may have made one of them wider.
    fileprivate init(
        _ gate: Tensor, _ up: Tensor, format: WeightFormat, feedback: ErrorFeedback?, compute: Compute
    ) throws {
        let areAlike = gate.dataType == up.dataType
        try self.init(
            gate: areAlike ? gate : gate.widened(), up: areAlike ? up : up.widened(), format: format,
            feedback: feedback, compute: compute)
    }
}

/// A linear layer: y = x·Wᵀ + b.
package struct Linear: Sendable {
    package let weight: PackedMatrix
    package let bias: Vector?

    /// - Parameters:
    ///   - x: [rows, inputs]
    ///   - y: [rows, outputs], overwritten
    package func callAsFunction(
        _ x: Matrix, activation: Activation = .none, into y: Matrix, on compute: Compute
    ) {
        compute.linear(x, weight, bias: bias, activation: activation, into: y)
    }
}
