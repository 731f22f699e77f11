internal import Checkpoints
package import Tensors

/// A line of a sweep's output: a cell that was measured, or one that would not have fitted into memory.
package struct SweepRecord: Codable, Sendable, Equatable {
    package enum Kind: String, Codable, Sendable {
        case cell, skipped
    }

    /// The parts of a first token.
    package struct Stages: Codable, Sendable, Equatable {
        package var encode: Double
        package var project: Double
        package var prefill: Double

        package init(_ stages: FirstTokenStages) {
            encode = stages.encode
            project = stages.project
            prefill = stages.prefill
        }

        package var total: Double { encode + project + prefill }
    }

    /// Where and how it was measured: figures of two of these cannot stand beside each other.
    package struct Conditions: Codable, Sendable, Hashable {
        package var processor: String
        package var instructionSet: String
        package var threads: Int
        package var textTokens: Int

        package init(_ compute: Compute, textTokens: Int) {
            self.init(
                processor: Compute.processorDescription(), instructionSet: compute.instructionSet.rawValue,
                threads: compute.threads, textTokens: textTokens)
        }

        package init(processor: String, instructionSet: String, threads: Int, textTokens: Int) {
            self.processor = processor
            self.instructionSet = instructionSet
            self.threads = threads
            self.textTokens = textTokens
        }
    }

    /// What makes two lines the same measurement.
    package struct Key: Sendable, Hashable {
        let tower: String
        let decoder: String
        let precision: Precision
        let imageSide: Int
        let conditions: Conditions

        package init(_ cell: SweepCell, _ conditions: Conditions) {
            (tower, decoder, precision) = (cell.tower, cell.decoder, cell.precision)
            imageSide = cell.system.imageSide
            self.conditions = conditions
        }

        fileprivate init(_ record: SweepRecord) {
            (tower, decoder, precision) = (record.tower, record.decoder, record.precision)
            imageSide = record.imageSide
            conditions = record.conditions
        }
    }

    package let type: Kind
    package let tower: String
    package let decoder: String
    package let precision: Precision
    /// Pixels per side of the image.
    package let imageSide: Int
    package let conditions: Conditions
    /// Pixels per side of the squares that the encoder takes, and how many of them.
    package let encoderSide: Int
    package let encodings: Int
    package let visualTokens: Int
    /// Multiplications and additions.
    package private(set) var operations: Stages?
    /// Of the repeat whose total is the median.
    package private(set) var seconds: Stages?
    package private(set) var firstTokenSeconds: Double?
    /// Totals of all repeats, in their order.
    package private(set) var repeats: [Double]?
    /// Most memory that the process held while it ran, weights included; nil where the system does not say.
    package private(set) var peakBytes: Int?
    /// Of a cell that was skipped.
    package private(set) var neededBytes: Int?
    package private(set) var availableBytes: Int?

    private init(_ type: Kind, _ cell: SweepCell, _ conditions: Conditions) {
        self.type = type
        tower = cell.tower
        decoder = cell.decoder
        precision = cell.precision
        imageSide = cell.system.imageSide
        self.conditions = conditions
        encoderSide = cell.system.configuration.preprocessing.size
        encodings = cell.system.encodings
        visualTokens = cell.system.visualTokens
    }

    /// - Parameter repeats: at least one
    package init(
        measured cell: SweepCell, _ conditions: Conditions, operations: FirstTokenStages,
        repeats: [FirstTokenStages], peakBytes: Int?
    ) {
        self.init(.cell, cell, conditions)
        let sorted = repeats.sorted { $0.total < $1.total }
        let median = sorted.isEmpty ? FirstTokenStages() : sorted[sorted.count / 2]
        self.operations = Stages(operations)
        seconds = Stages(median)
        firstTokenSeconds = median.total
        self.repeats = repeats.map(\.total)
        self.peakBytes = peakBytes
    }

    package init(skipped cell: SweepCell, _ conditions: Conditions, needed: Int, available: Int) {
        self.init(.skipped, cell, conditions)
        neededBytes = needed
        availableBytes = available
    }

    package var key: Key { Key(self) }

    // MARK: CSV

    package static let columns = [
        "tower", "decoder", "precision", "image_side", "encoder_side", "encodings", "visual_tokens",
        "text_tokens", "encode_operations", "project_operations", "prefill_operations", "encode_seconds",
        "project_seconds", "prefill_seconds", "first_token_seconds", "least_seconds", "most_seconds",
        "peak_bytes", "processor", "instruction_set", "threads",
    ]

    /// The same as text, in the order of ``columns``; empty where there is nothing. Nil for a cell that was skipped.
    package var fields: [String]? {
        guard type == .cell else { return nil }
        func text<Value>(_ value: Value?) -> String { value.map { "\($0)" } ?? "" }
        return [
            tower, decoder, precision.rawValue, "\(imageSide)", "\(encoderSide)", "\(encodings)",
            "\(visualTokens)", "\(conditions.textTokens)", text(operations?.encode),
            text(operations?.project),
            text(operations?.prefill), text(seconds?.encode), text(seconds?.project),
            text(seconds?.prefill), text(firstTokenSeconds), text(repeats?.min()), text(repeats?.max()),
            text(peakBytes), conditions.processor, conditions.instructionSet, "\(conditions.threads)",
        ]
    }

    /// A line of comma-separated values (RFC 4180), without its end.
    package static func line(_ fields: [String]) -> String {
        fields.map { field in
            guard field.unicodeScalars.contains(where: { [",", "\"", "\r", "\n"].contains($0) }) else {
                return field
            }
            return "\""
                + field.split(separator: "\"", omittingEmptySubsequences: false)
                .joined(separator: "\"\"") + "\""
        }.joined(separator: ",")
    }
}

/// How far a sweep is and how long the rest of it takes, if operations go on as fast as so far.
package struct SweepProgress: Sendable {
    private var remaining: [SweepCell]
    private let textTokens: Int
    private let all: Int
    private var done = 0.0
    private var seconds = 0.0

    /// - Parameter cells: that are to be measured
    package init(_ cells: [SweepCell], textTokens: Int) {
        remaining = cells
        all = cells.count
        self.textTokens = textTokens
    }

    /// `12 of 36`, the cell that is worked on or was last.
    package var position: String { "\(min(all - remaining.count, all)) of \(all)" }

    /// - Parameter seconds: that loading and measuring it took; nil for a cell that was skipped
    package mutating func finish(_ cell: SweepCell, seconds: Double?) {
        remaining.removeAll { $0 == cell }
        guard let seconds else { return }
        done += cell.estimatedOperations(textTokens: textTokens)
        self.seconds += seconds
    }

    /// Nil before anything was measured.
    package var secondsLeft: Double? {
        guard done > 0 else { return nil }
        return seconds / done
            * remaining.reduce(0) { $0 + $1.estimatedOperations(textTokens: textTokens) }
    }
}
